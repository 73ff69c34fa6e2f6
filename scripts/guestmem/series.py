# SPDX-License-Identifier: GPL-2.0-only
"""What scripts/series computes.

usage: python3 -m guestmem.series KERNEL PRISTINE TARGET VERB...

KERNEL is kernel/, PRISTINE the pinned source, and TARGET has the files that differ from it.  Verbs:
	list			print the number and the name of each patch
	order			is each step complete, as far as reading tells?
	steps DIR		write what each patch changes
	kernel N DIR		write DIR, a kernel/ of what is there after patch N
	cover FILE		put the cover letter's subject and text into the mail FILE
	maintainers DIR		write what get_maintainer.pl needs into DIR
"""

import difflib
import os
import re
import shutil
import sys

from guestmem import command
from guestmem.patches import Series, Wrong, lines_of, read, write
from guestmem.series_order import check_order


def write_kernel(series, number, directory):
    """What is there after patch NUMBER, in the form of kernel/: plain files, one hook, configurations."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(f'{series.kernel}/configs', f'{directory}/configs')
    shutil.copy(f'{series.kernel}/BASE', directory)
    hook, options, known = ['As of one patch of the series.\n\n---\n'], set(), set()
    for path, file in series.files.items():
        lines = file.after(number)
        if os.path.basename(path).startswith('Kconfig'):
            option = re.compile(r'(?:menu)?config (\w+)')
            options |= {m[1] for m in map(option.match, file.after(len(series.patches))) if m}
            known |= {m[1] for m in map(option.match, lines or []) if m}
        if file.added and lines is not None:
            write(f'{directory}/{path}', lines, file.mode)
        elif lines and lines != file.old:
            diff = difflib.unified_diff(file.old, lines, f'a/{path}', f'b/{path}')
            hook += [f'\ndiff --git a/{path} b/{path}\n', *diff]
    write(f'{directory}/hooks/step.patch', hook)
    write(f'{directory}/hooks/series', ['step.patch\n'])
    # The configurations may only ask for what the step knows.
    for name in os.listdir(f'{directory}/configs'):
        path = f'{directory}/configs/{name}'
        if os.path.isfile(path):
            missing = {f'CONFIG_{o}' for o in options - known}
            wanted = lines_of(path)
            lines = [line for line in wanted if not missing & set(re.findall(r'CONFIG_\w+', line))]
            # Until the file system selects the library, COMPILE_TEST offers it.
            if 'GUEST_MEMFD' in known and 'CONFIG_GUESTMEM_FS=y\n' in set(wanted) - set(lines):
                lines += ['CONFIG_COMPILE_TEST=y\n', 'CONFIG_GUEST_MEMFD=y\n']
            write(path, lines)


def write_cover(kernel, mail):
    subject, _, body = read(os.path.join(kernel, 'series/cover.txt')).partition('\n')
    text = read(mail).replace('*** SUBJECT HERE ***', subject).replace('*** BLURB HERE ***', body.strip())
    write(mail, [text])


def may_match(pattern, paths):
    """Can a pattern of an F: or X: line match one of PATHS, by what precedes its first wildcard?"""
    fixed = re.split(r'[*?\[]', pattern)[0]
    return any(path.startswith(fixed) or fixed.startswith(path) for path in paths)


def write_maintainers(series, directory):
    """MAINTAINERS without the patterns that match no path of the series, and a patch that names the paths.

    get_maintainer.pl compares each path with each pattern; with all of them it takes minutes.
    """
    where = series.target if 'MAINTAINERS' in series.files else series.pristine
    lines = [line for line in lines_of(os.path.join(where, 'MAINTAINERS'))
             if not re.match(r'[FX]:', line) or may_match(line[2:].strip(), series.files)]
    write(os.path.join(directory, 'MAINTAINERS'), lines)
    write(os.path.join(directory, 'paths.patch'),
          [f'diff --git a/{p} b/{p}\n--- a/{p}\n+++ b/{p}\n@@ -1 +1 @@\n' for p in series.files])


def main(kernel, pristine, target, verb, *arguments):
    if verb == 'cover':
        write_cover(kernel, *arguments)
        return
    series = Series(kernel, pristine, target)
    if verb == 'list':
        print(*(f'{patch.number} {patch.name}' for patch in series.patches), sep='\n')
    elif verb == 'order':
        wrong = check_order(series)
        if wrong:
            raise Wrong('\n'.join(wrong))
    elif verb == 'steps':
        series.write_steps(*arguments)
    elif verb == 'kernel':
        write_kernel(series, int(arguments[0]), arguments[1])
    elif verb == 'maintainers':
        write_maintainers(series, *arguments)
    else:
        command.die(f'no verb is called {verb}')


if __name__ == '__main__':
    try:
        main(*sys.argv[1:])
    except Wrong as error:
        sys.exit(f'series: {error}')
