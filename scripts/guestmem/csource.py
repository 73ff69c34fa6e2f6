# SPDX-License-Identifier: GPL-2.0-only
"""Which functions of a C file use which names, as far as the kernel's coding style shows it.

No parser: a function begins at a line that ends with a brace and ends at a brace in the first
column; a macro belongs to its own name, or to the function that it is defined in.
"""

import re
from collections import Counter

STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
FIELD = re.compile(r"(?:->|\.)[ \t]*$")
DEFINE = re.compile(r"[ \t]*#[ \t]*define[ \t]+([A-Za-z_0-9]*)(.*)")
DIRECTIVE = re.compile(r"[ \t]*#")
BEGIN = re.compile(r"\{|.*\{[ \t]*$")
# Of a type only its fields stand there.
TYPE = re.compile(r"[ \t]*(?:typedef[ \t]+)?(?:struct|union|enum)(?:[ \t]+[A-Za-z_0-9]+)?[ \t]*")
END_OF_DECLARATION = re.compile(r".*[;}][ \t]*$|[A-Z_]+\(.*\)$|[ \t]*$|.*:$")
CLASS = re.compile(r"[ \t]*DEFINE_(?:CLASS|GUARD|LOCK_GUARD)")
TEMPLATE = re.compile(r"FNAME\([a-z_0-9]+\)")
ATTRIBUTE = re.compile(r"__attribute__\(\([^)]*\)\)|__printf\([^)]*\)|"
                       r"__(?:acquires|releases|must_hold)\([^)]*\)")


def without_comments(lines):
    """The lines without comments and with empty strings; those inside a comment are left out."""
    in_comment = False
    for line in lines:
        if in_comment:
            _, end, line = line.rpartition("*/")
            if not end:
                continue
            in_comment = False
        # Strings first: one may hold what opens a comment.
        line = STRING.sub('""', line)
        code = ""
        while "/*" in line:
            before, _, line = line.partition("/*")
            code += before
            _, end, line = line.partition("*/")
            in_comment = not end
        yield (code + line).partition("//")[0]


def name_of(head):
    """The name of the function or variable that HEAD, the text before a brace, defines."""
    head = re.sub(r"[ \t]*=.*", "", head)
    if match := TEMPLATE.search(head):
        return match[0]
    head = ATTRIBUTE.sub("", head)
    head = head.partition("[")[0]
    head = re.sub(r"[ \t]*\(.*", "", head)
    return re.sub(r".*[ \t*]", "", head)


class Uses:
    """Counts (function, name) in one file, for the names that the pattern WANTED matches."""

    def __init__(self, wanted):
        self.wanted = wanted
        self.count = Counter()

    def use(self, code, function):
        word, end = "", 0
        for match in WORD.finditer(code):
            last, word = word, match[0]
            is_field = FIELD.search(code, end, match.start())
            end = match.end()
            # "hva" is wanted as a field, not as a variable; "get_user" as a function, not as a field.
            if word == "hva":
                if is_field:
                    self.count[function, word] += 1
            elif self.wanted.fullmatch(word) and word != function and last != "struct":
                if word != "get_user" or not is_field:
                    self.count[function, word] += 1

    def read(self, lines):
        # What the current line continues: a macro, a function's body, or the text before a body.
        macro = function = None
        head = ""
        for line in without_comments(lines):
            if macro is not None:
                self.use(line, macro)
                macro = macro if line.endswith("\\") else None
            elif match := DEFINE.match(line):
                name = match[1] if function is None else function
                self.use(match[2], name)
                macro = name if line.endswith("\\") else None
            elif DIRECTIVE.match(line):
                pass
            elif function is not None:
                if line.startswith("}"):
                    function = None
                elif function:
                    self.use(line, function)
            elif BEGIN.match(line):
                head += " " + re.sub(r"\{[ \t]*$", "", line)
                function = "" if TYPE.fullmatch(head) else name_of(head)
                head = ""
            elif END_OF_DECLARATION.match(line):
                # All is in one line, or a macro makes a class or a wrapper.
                text, head = head + " " + line, ""
                before, brace, after = text.partition("{")
                if brace and "}" in after:
                    self.use(brace + after, name_of(before))
                elif CLASS.match(text):
                    self.use(text, "DEFINE_CLASS")
            else:
                head += " " + line


def uses(lines, wanted):
    """A Counter of (function, name) for each use of a name that WANTED matches in LINES."""
    found = Uses(wanted)
    found.read(lines)
    return found.count
