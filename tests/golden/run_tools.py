"""Run command lines of tools/ in one process, since a start of torch costs more than most of them.

    python run_tools.py TOOLS CALLS OUTCOMES      ["score.py --help", …] -> [{"code", "out", "err"}, …]
    python run_tools.py TOOLS OPTIONS             the options of every tool, as argparse has them

TOOLS is the folder of the tools, CALLS a JSON file, OUTCOMES and OPTIONS are written.
"""

import argparse
import contextlib
import io
import json
import os
import pathlib
import runpy
import shlex
import subprocess
import sys
import traceback
from unittest import mock

# One thread and the plainest kernels: the same bits on every x86 processor.
PINNED = {
    "OMP_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Nehalem",
}


def run(tools, calls, folder, start=None, **environ):
    """Run calls in a process of its own whose working folder is `folder`; return how each ended.

    `start` starts this file with three arguments, as `subprocess.run` does.
    """
    asked, told = (pathlib.Path(folder) / f".{name}.json" for name in ("calls", "outcomes"))
    asked.write_text(json.dumps(calls))
    environ = os.environ | PINNED | environ
    words = [__file__, str(tools), asked.name, told.name]
    made = (start or start_python)(*words, cwd=folder, env=environ)
    if made.returncode:
        raise AssertionError(f"the tools ended with {made.returncode}: {made.stderr[-4000:]}")
    outcomes = json.loads(told.read_text())
    asked.unlink()
    told.unlink()
    return outcomes


def start_python(*words, cwd, env):
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True
    )


def options(tools, file):
    """Write the options of every tool to a JSON file."""
    subprocess.run([sys.executable, __file__, str(tools), str(file)], check=True)


def one_call(tools, call):
    """Run one command line in this process, as its tool does when it is started."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    name, *given = shlex.split(call)
    argv = [str(tools / name), *given]
    with (
        mock.patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            runpy.run_path(argv[0], run_name="__main__")
        except SystemExit as error:
            code = error.code or 0
        except Exception:  # a fault of ours ends with a traceback and 1, as python itself does it
            traceback.print_exc()
            code = 1
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()[-4000:]}


class Captured(Exception):
    """A parser that was about to parse."""


def parser_of(tool):
    """The parser a tool reads its command line with."""

    def capture(parser, *_, **__):
        raise Captured(parser)

    names = ("parse_args", "parse_known_args", "parse_intermixed_args")
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(argparse.ArgumentParser, name, capture))
        stack.enter_context(mock.patch.object(sys, "argv", [str(tool), "--help"]))
        try:
            runpy.run_path(str(tool), run_name="__main__")
        except Captured as captured:
            return captured.args[0]
    raise AssertionError(f"{tool.name} reads no command line")


def surface(parser):
    """Every option and subcommand of a parser, without help texts."""
    found = {"options": {}, "positional": [], "subcommands": {}}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found["subcommands"] = {name: surface(sub) for name, sub in action.choices.items()}
        elif not isinstance(action, argparse._HelpAction):
            told = {
                "does": type(action).__name__.strip("_").removesuffix("Action"),
                "nargs": action.nargs,
                "default": action.default,
                "choices": None if action.choices is None else list(action.choices),
                "required": action.required,
                "makes": _type_of(action),
            }
            if action.option_strings:
                found["options"] |= {flag: told for flag in action.option_strings}
            else:
                found["positional"].append(told)
    return found


def _type_of(action):
    """Name of the type that the text 3 becomes."""
    made = action.type("3") if action.type is not None else "3"
    return "Path" if isinstance(made, pathlib.Path) else type(made).__name__


def main():
    tools, *files = map(pathlib.Path, sys.argv[1:])
    if len(files) == 2:
        found = [one_call(tools, call) for call in json.loads(files[0].read_text())]
    else:
        found = {path.name: surface(parser_of(path)) for path in sorted(tools.glob("*.py"))}
    files[-1].write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
