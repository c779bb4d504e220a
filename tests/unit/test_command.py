"""The command line taken apart: options of the interpreter, and the way into another process and back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from indrik import command


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("python bin/indrik app:app -w 2", ""),
        ("python -m indrik -b :80", ""),
        ("python -O -X dev -Werror -W default -m indrik app", "-O -X dev -Werror -W default"),
        ("python -OOBm indrik app", "-OOB"),
        ("python -mindrik app", ""),
        ("python -Iu -Xutf8 bin/indrik -O", "-Iu -Xutf8"),
        ("python -ix bin/indrik", ""),
        ("python -iO bin/indrik", "-O"),
        ("python --check-hash-based-pycs never -m indrik", "--check-hash-based-pycs never"),
        ("python -c pass -O", ""),
        ("python -m coverage run -m indrik app", ""),
        ("python", ""),
    ],
)
def test_options_of_the_interpreter_are_those_before_the_program(line, options):
    assert command.interpreter_options(line.split()) == options.split()


def test_a_command_is_the_same_after_it_was_packed():
    before = command.Command(["a", "-x", ""], ["python", "-O", "a", "-x", ""], "/bin/a")
    after = command.unpacked(before.packed())
    assert vars(after) == vars(before)
    assert after.python_options == ["-O"]


def test_the_search_path_is_told_as_it_was_typed_whatever_became_of_it_since():
    program = "import os; os.environ['PYTHONPATH'] = 'else'; from indrik import command; command.restore_search_path()"
    program += "; print(os.environ['PYTHONPATH'])"
    environment = os.environ | {"PYTHONPATH": "typed:" + os.environ.get("PYTHONPATH", "")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == environment["PYTHONPATH"]
