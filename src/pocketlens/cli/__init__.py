"""The command line: one verb a file, each thin. Nothing heavy is imported before a verb needs it."""

import os
import signal
import sys
import warnings
from importlib import import_module
from types import FrameType
from typing import NoReturn

import typer

from pocketlens.errors import PocketlensError

VERBS = ("inspect", "train", "squeeze", "bench", "export", "recognize", "gallery", "devices", "app", "serve")
"""Each is a module of this package with a function of the same name, or a Typer of that name with verbs of its own."""


def _application() -> typer.Typer:
    app = typer.Typer(
        name="pocketlens",
        help="Make a trained image-recognition model small and fast enough for the device it ships on, "
        "measured on that device.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for verb in VERBS:
        does = getattr(import_module(f"pocketlens.cli.{verb}"), verb)
        if isinstance(does, typer.Typer):
            app.add_typer(does, name=verb)
        else:
            app.command(verb)(does)
    return app


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"pocketlens {version('pocketlens')}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and end."
    ),
) -> None:
    """From a trained model to the smallest, fastest file that keeps its accuracy."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and end the process: 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments or bool(os.environ.get("POCKETLENS_DEBUG"))
    signal.signal(signal.SIGTERM, _terminated)
    if not debug:
        warnings.simplefilter("ignore")  # a library's advice to its developers is none to our users
    try:
        code = _application()([a for a in arguments if a != "--debug"], standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except (KeyboardInterrupt, typer.Abort):
        _end("interrupted; nothing was written half", 130)
    except typer.TyperException as error:
        show = getattr(error, "show", None)  # typer's own usage errors know how to show themselves
        if show is None:
            _end(_one_line(error), error.exit_code)
        show()
        sys.exit(error.exit_code)
    except PocketlensError as error:
        if debug:
            raise
        _end(_one_line(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ImportError as error:
        if debug:
            raise
        extra = "pip install 'pocketlens[optimize]'"
        _end(f"this needs a package that is not installed ({error}); try: {extra}", 1)
    except OSError as error:
        if debug:
            raise
        _end(_one_line(error), 1)
    except Exception as error:
        if debug:
            raise
        _end(f"internal error, {type(error).__name__}: {_one_line(error)} (--debug shows where)", 1)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM unwinds like Ctrl-C, so that temporary files go."""
    raise SystemExit(128 + number)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _end(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"pocketlens: {message}\n")
    sys.exit(code)
