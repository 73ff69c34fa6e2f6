# SPDX-License-Identifier: GPL-2.0-only
"""Is each step of the series complete?  A check that reads and does not compile.

A step is the tree after a patch.  A source file counts in a step if the step can build
it: it is in the pinned source, or a Makefile of the step has its object under an option
that can be set.  For each such file, and each header that it includes:

	- a header of ours that it includes is there;
	- a name that kernel/ defines (function, macro, type, field, constant) is defined;
	- a function of ours that it calls is in a file that counts, or is the header's stub,
	  because the option of its file cannot be set yet.

C is read with regular expressions, so the check is quick, and neither complete nor a
proof; scripts/series-check --objects compiles.
"""
import functools
import os
import re

NAME = re.compile(r'[A-Za-z_]\w*')
# At the start of a line: a function, or its first line.
HEAD = re.compile(r'[A-Za-z_][\w \*]*?\b(\w+)\(')
DEFINITIONS = [re.compile(e) for e in (
    r'\s*#\s*define\s+(\w+)',
    r'(?:typedef )?(?:struct|enum|union) (\w+)(?: \{|;)',
    r'\t([A-Z][A-Z0-9_]+)(?:,| =|$)',
    r'(?:DEFINE_EVENT\(\w+, *|TRACE_EVENT\(|DEFINE_\w+\(|DECLARE_\w+\()(\w+)',
    r'.*\(\*(\w+)\)\(',
)]


@functools.cache
def code(text):
    """C without comments and strings."""
    text = re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', re.sub(r'/\*.*?\*/', lambda m: '\n' * m[0].count('\n'), text, flags=re.S))
    return re.sub(r'[ \t]+$', '', text, flags=re.M)


@functools.cache
def includes(text):
    return re.findall(r'^#include ([<"])([^>"]+)', text, re.M)


@functools.cache
def tokens(text):
    return frozenset(NAME.findall(text))


@functools.cache
def fields_used(text):
    return frozenset(re.findall(r'(?:->|\.)([A-Za-z_]\w*)', text))


@functools.cache
def declared(text):
    """The names that C defines or declares, and the fields of structures."""
    names, fields, inside = set(), set(), False
    for line in text.splitlines():
        head = HEAD.match(line)
        if head:
            names.add(head[1])
        # Fields and variables: the last name of each declarator.
        if (inside or line[:1].isalpha()) and line.endswith(';') and '(' not in line:
            for part in re.sub(r'\[[^\]]*\]| : \d+|:\d+|=[^,;]*', '', line).split(','):
                (fields if inside else names).update(NAME.findall(part)[-1:])
        elif ' = ' in line and line[0].isalpha():
            names.update(NAME.findall(line.split(' = ')[0].split('[')[0])[-1:])
        for expression in DEFINITIONS:
            found = expression.match(line)
            if found:
                (fields if inside and '(*' in line else names).add(found[1])
        inside = line.startswith(('struct', 'union', 'typedef', '\tstruct', '\tunion')) and line.endswith('{') or \
            inside and not line.startswith('}')
    return frozenset(names), frozenset(fields)


@functools.cache
def functions(text):
    """The functions with external linkage that C defines."""
    names, lines = set(), text.splitlines()
    for n, line in enumerate(lines):
        head = HEAD.match(line)
        if head and not re.match(r'static|extern|typedef|else|return', line):
            following = ' '.join(lines[n:n + 8])
            if re.match(r'[^;{]*\{', following):
                names.add(head[1])
    return frozenset(names)


@functools.cache
def stubs(text):
    """The inline functions and macros of a header."""
    return frozenset(re.findall(r'^(?:static (?:__always_)?inline [\w ]*[ \*]|#define )(\w+)\b', text, re.M))


class Step:
    """The files of kernel/ as they are after patch NUMBER; what is not there yet is left out."""

    def __init__(self, series, number):
        self.series, self.number = series, number
        texts = {p: f.text(number) for p, f in series.files.items()}
        self.texts = {p: t for p, t in texts.items() if t is not None}
        self.configs = {}
        for path, text in self.texts.items():
            if os.path.basename(path).startswith('Kconfig'):
                for block in re.split(r'\n(?=config |menuconfig )', '\n' + text):
                    head = re.match(r'(?:menu)?config (\w+)', block)
                    if head:
                        self.configs[head[1]] = block
        self.code = {p: code(t) for p, t in self.texts.items() if p.endswith(('.c', '.h'))}


class Order:
    def __init__(self, series):
        self.series = series
        self.last = Step(series, len(series.patches))
        pristine = Step(series, 0)
        self.our_configs = set(self.last.configs) - set(pristine.configs)
        known = set()
        for text in pristine.texts.values():
            known |= tokens(text)
        self.names, self.fields = set(), set()
        self.functions = {}
        for path, text in self.last.code.items():
            if not path.startswith('tools/'):
                self.names |= declared(text)[0] - known
                self.fields |= declared(text)[1] - known
                if path.endswith('.c'):
                    self.functions.update((name, path) for name in functions(text) - known)

    def can_be_set(self, step, option, asking=()):
        if option not in self.our_configs or option in asking:
            return option not in asking
        block = step.configs.get(option)
        if not block:
            return False
        asking = (*asking, option)
        needs = re.findall(r'^\t(?:depends on|def_bool) (.*)', block, re.M)
        if not all(self.can_be_set(step, o, asking) for n in needs for o in re.findall(r'(?<!!)\b[A-Z]\w+', n)):
            return False
        if re.search(r'^\t(?:bool|tristate) "|^\tdef_bool', block, re.M):
            return True
        return any(re.search(rf'^\s+select {option}$', text, re.M) and self.can_be_set(step, other, asking)
                   for other, text in step.configs.items())

    def options_of(self, step, path):
        """For each line of a Makefile that names the object of a file: the options there."""
        base = re.sub(r'c$', 'o', os.path.basename(path))
        for makefile, text in step.texts.items():
            if os.path.dirname(makefile) == os.path.dirname(path) and os.path.basename(makefile).startswith('Makefile'):
                for line in text.splitlines():
                    if re.search(rf'(?<![\w-]){re.escape(base)}\b', line):
                        yield re.findall(r'CONFIG_(\w+)', line)

    def counts(self, step, path):
        if not path.endswith('.c') or path not in step.texts or path.startswith('tools/'):
            return False
        if not self.series.files[path].added:
            return True
        return any(all(self.can_be_set(step, o) for o in options) for options in self.options_of(step, path))

    @functools.cache
    def header(self, directory, name, quoted):
        """The path of a header of ours that a file in DIRECTORY includes, or None."""
        places = [directory] if quoted else []
        places += ['include', 'include/uapi', 'arch/x86/include', 'arch/arm64/include', 'arch/arm64/kvm/hyp/include']
        for place in places:
            found = os.path.normpath(os.path.join(place, name))
            if found in self.last.texts:
                return found
        return None

    def check(self, step):
        counting = [p for p in step.texts if self.counts(step, p)]
        todo, seen, wrong = list(counting), set(), []
        names = {name for text in step.code.values() for name in declared(text)[0]}
        fields = {name for text in step.code.values() for name in declared(text)[1]}
        while todo:
            path = todo.pop()
            if path in seen:
                continue
            seen.add(path)
            for quote, name in includes(step.texts[path]):
                header = self.header(os.path.dirname(path), name, quote == '"')
                if header and header not in step.texts:
                    wrong.append(f'{path} includes {header}, which is not there')
                elif header:
                    todo.append(header)
            text = step.code[path]
            for name in sorted(tokens(text) & self.names - names - fields | fields_used(text) & self.fields - fields - names):
                wrong.append(f'{path} uses {name}, which is not defined')
        stub = {name for path, text in step.code.items() if path.endswith('.h') for name in stubs(text)}
        for path in counting:
            for name in sorted(tokens(step.code[path]) & set(self.functions)):
                home = self.functions[name]
                there = home in counting and name in functions(step.code[home])
                if not there and not (name in stub and self.stub_is_used(step, home)):
                    wrong.append(f'{path} calls {name}(), and {home} is not built')
        return wrong

    def stub_is_used(self, step, home):
        """Can the options under which the function replaces the stub not be set yet?"""
        return not any(all(self.can_be_set(step, o) for o in options) for options in self.options_of(self.last, home))


def check_order(series):
    order = Order(series)
    wrong = []
    for patch in series.patches:
        wrong += [f'{patch.name}: {what}' for what in order.check(Step(series, patch.number))]
    return wrong
