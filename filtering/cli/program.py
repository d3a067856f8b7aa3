"""From words to an exit status: runs a command, and reports an error in one line."""

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn, TextIO, cast

from filtering.cli.declaration import INTERRUPTED
from filtering.cli.output import error_json
from filtering.cli.parser import commands, new_parser
from filtering.cli.streams import UNREAD, Output, Unfailing, UnwrittenError, abandon, prepare
from filtering.cli.welcome import welcome
from filtering.core.errors import FilteringError, Mistakes, first_line, one_line
from filtering.core.interpreter import REMEDY, this_interpreter
from filtering.core.secrets import NOTIFY_REMEDY, redacted, refused_secret
from filtering.core.visible import visible, visible_lines
from filtering.runtime import signals
from filtering.storage.local import disk_error, path_error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 done, 2 the input is wrong, 1 the run failed.

    It is 141, in silence, if nobody reads the output any more.
    """
    prepare()
    try:
        return _run(sys.argv[1:] if arguments is None else list(arguments), cast(TextIO, Output(sys.stdout)))
    except UnwrittenError as error:
        abandon(sys.stdout)
        if isinstance(error.__cause__, BrokenPipeError):
            return UNREAD
        cause = error.__cause__ or error
        _say(f"stdout: cannot be written ({getattr(cause, 'strerror', None) or first_line(cause)})")
        return 1
    except KeyboardInterrupt:
        # Before a command has begun, or after its end.
        _say("stopped")
        return INTERRUPTED


def _run(words: Sequence[str], output: TextIO) -> int:
    try:
        if not words:
            output.writelines(f"{visible(line)}\n" for line in welcome())
            return 0
        given = new_parser().parse_args(words)
        given.out_stream, given.words = output, words
        return _called(given)
    finally:
        # Here, where it can be told what is wrong: Python would say it in words of its own, after everything else.
        output.flush()


def _called(given: argparse.Namespace) -> int:
    chosen = commands()[given.command]
    signals.listen()
    try:
        # What libraries print, Ray's notices above all, goes to stderr: stdout is for the result alone.
        with contextlib.redirect_stdout(sys.stderr):
            _refuse_secrets(given.words)
            return chosen.body(given)
    except UnwrittenError:
        raise
    except FilteringError as error:
        return _failed(given, error, error.exit_status, str(error))
    except (KeyboardInterrupt, SystemExit) as error:
        # While Ray starts, its own answer to a request to end is in force: SystemExit.
        resumed = f"; the same command resumes {chosen.resumes}" if chosen.resumes else ""
        return _failed(given, error, INTERRUPTED, f"stopped{resumed}")
    except ImportError as error:
        line = f"{error}: this command runs {this_interpreter()}, which has not all that this package needs; {REMEDY}"
        return _failed(given, error, 1, line)
    except Exception as error:
        if told := disk_error(error) or path_error(error):
            return _failed(given, error, told.exit_status, str(told))
        return _failed(given, error, 1, f"{one_line(error)} (--debug shows the traceback)")


def command(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `main` as a program and end it with its status."""
    status = main(arguments)
    try:
        sys.stderr.flush()
    except OSError:
        abandon(sys.stderr)
    if status == INTERRUPTED:
        # Interrupted while it starts, Ray does not find its own end; its processes end with this one.
        os._exit(status)
    sys.exit(status)


def _refuse_secrets(words: Sequence[str]) -> None:
    # An address on the command line is printed, and stored, like one in the configuration.
    lines = (refused_secret("command line", word, NOTIFY_REMEDY if "notify.url=" in word else "") for word in words)
    Mistakes(filter(None, lines)).refuse()


def _failed(given: argparse.Namespace, error: BaseException, status: int, lines: str) -> int:
    if given.debug:
        Unfailing(sys.stderr).write(visible_lines(redacted("".join(traceback.format_exception(error)))))
    _say(*lines.split("\n"))
    if given.json:
        given.out_stream.write(error_json(status, lines) + "\n")
    return status


def _say(*lines: str) -> None:
    Unfailing(sys.stderr).writelines(f"filtering: {visible(line)}\n" for line in lines)
