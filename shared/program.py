"""A command-line program whose troubles are sentences: one line on standard error and an exit status, never a traceback."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from shared import streams
from shared.errors import OutputLost, SledError

log = logging.getLogger(__name__)

FAILED, MISUSED, INTERRUPTED = 1, 2, 130  # exit statuses
_LONGEST = 500  # characters of a sentence
_TAIL = 100  # those of them that are its end
# typer has click inside, or beside it, depending on its version.
_Misuse: Any = next(each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException")

_NUMBER = re.compile("-?[0-9]{1,18}")
_PLAIN: dict[Any, Callable[[Any], Any]] = {str: str, list[str]: list, int: int, Path: Path}  # what takes no looking at


class _Plain:
    """What takes plain values as they are.

    From version 0.29 on typer has pydantic look at every value, whose import takes as long as all else that a command needs to start.
    """

    def get_params(self, context: Any) -> list[Any]:
        """See click: the parameters of a command."""
        params: list[Any] = super().get_params(context)  # type: ignore[misc]
        for param in params:
            if "process_value" not in vars(param):
                param.process_value = partial(_value, param, _plain(param), param.process_value)
        return params


class _Command(_Plain, TyperCommand):
    """A command."""


class _Group(_Plain, TyperGroup):
    """A program with several."""


def _plain(param: Any) -> Callable[[Any], Any] | None:
    """What makes the value of a parameter that has no conditions; None for others, and with an older typer."""
    descriptor: Any = getattr(param, "type_descriptor", None)
    info: Any = getattr(descriptor, "parameter_info", None)
    conditions = [getattr(info, name, None) for name in ("min", "max", "parser", "exists", "writable", "resolve_path")]
    if info is None or param.callback is not None or any(each is not None and each is not False for each in conditions):
        return None
    is_path = descriptor.annotation is Path and not (info.file_okay and info.dir_okay)
    return None if is_path else _PLAIN.get(descriptor.annotation)


def _value(
    param: Any, plain: Callable[[Any], Any] | None, process: Callable[..., Any], context: Any, given: Any
) -> Any:
    """The value of a parameter; what is not plain is left to typer, and to what it says of it."""
    if given is None and not param.required:
        return None if param.callback is None else param.callback(context, param, None)
    is_text = isinstance(given, str) and bool(given) and (plain is not int or _NUMBER.fullmatch(given) is not None)
    is_list = plain is list and isinstance(given, list | tuple) and bool(given)
    return plain(given) if plain is not None and (is_list if plain is list else is_text) else process(context, given)


class Program(typer.Typer):
    """A typer application. Called, it runs a command and ends the interpreter with the command's exit status."""

    def __init__(self, name: str, *also: type[Exception], help: str | None = None) -> None:  # noqa: A002 - typer's word
        """`name` is what the program's sentences begin with. Exceptions `also` carry sentences, beside SledError."""
        # Without rich: its boxes and its markup would get between a user's words and the terminal.
        super().__init__(
            cls=_Group, help=help, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
        )
        self._name, self._also = name, also

    def with_version(self) -> Program:
        """This program, which has several commands and says its version with --version."""
        said = typer.Option(False, "--version", is_eager=True, callback=self._say_version, help="Print the version.")

        def options(*, asked: bool = said) -> None:
            del asked  # its callback has done it

        self.callback(help=self.info.help)(options)
        return self

    def _say_version(self, wanted: bool) -> None:
        if wanted:
            from importlib.metadata import version  # takes a tenth of the time that a command needs to start

            streams.put_line(f"{self._name} {version('sled-mqtt')}")
            raise typer.Exit

    def _keep_what_is_called(self, first: list[str]) -> None:
        """Forget all commands but the one that is called: making them of their options takes a fifth of the time that one needs to start."""
        called = [each for each in self.registered_commands if first == [_command_name(each)]]
        # Of one command alone typer would make a program without commands, unless it has options of its own.
        if called and self.registered_callback is not None:
            self.registered_commands, self.registered_groups = called, []

    def __call__(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        """Run the command line, or the one in `args`. Raises SystemExit; not `standalone_mode`: what the command raises."""
        for each in self.registered_commands:
            each.cls = _Command
        if not standalone_mode:
            return get_command(self)(*args, standalone_mode=False, **kwargs)
        streams.prepare()
        self._keep_what_is_called(sys.argv[1:2])
        with troubles_said(self._name, *self._also):
            try:
                status = get_command(self)(*args, standalone_mode=False, **kwargs)
                streams.put("")
            except _Misuse as error:
                status = _say_misuse(self._name, error)
        sys.exit(status if isinstance(status, int) else 0)


def _command_name(command: Any) -> str:
    return str(command.name or command.callback.__name__)


def run(name: str, command: Any, *also: type[Exception]) -> None:
    """Run one function as a Program. Raises SystemExit."""
    program = Program(name, *also)
    program.command()(command)
    program()


@contextmanager
def troubles_said(program: str, *also: type[Exception]) -> Iterator[None]:
    """Turn whatever is raised inside into a sentence of `program` on standard error and the exit status that goes with it.

    Exceptions `also` carry sentences, beside SledError. What is none of the user's, nor of the machine's, is called a mistake.
    """
    said: tuple[type[Exception], ...] = (SledError, *also)
    try:
        yield
    except (typer.Exit, typer.Abort, _Misuse):  # typer's own ways of ending
        raise
    except (KeyboardInterrupt, BrokenPipeError) as error:  # who sent the one or closed the other knows
        streams.drop(sys.stdout)
        raise SystemExit(INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED) from None
    except said as error:
        if isinstance(error, OutputLost):
            streams.drop(sys.stdout)
        _end(program, str(error))
    except OSError as error:
        log.info("what failed is here", exc_info=True)
        streams.drop(sys.stdout)  # it may be what can't be used
        _end(program, f"can't use {error.filename or 'a stream or file'}: {error.strerror or error}")
    except MemoryError:
        log.info("what failed is here", exc_info=True)
        _end(program, "this machine has too little memory for that; ask for less, or end something else that runs")
    except Exception as error:
        log.info("what failed is here", exc_info=True)
        _end(program, f"this is a mistake in the program; report it with what --verbose says ({error!r})")


def sentence(text: str) -> str:
    """`text` in one line of at most _LONGEST characters, with what can't be printed escaped and its middle left out if need be."""
    line = " ".join(text.split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - _TAIL - 3]} … {shown[-_TAIL:]}"


def _say_misuse(program: str, error: Any) -> int:
    context = getattr(error, "ctx", None)
    if context is not None and error.message == context.get_help():  # nothing was typed
        streams.note(error.message)
    else:
        hint = f"; see {context.command_path} --help" if context is not None else ""
        streams.note(f"{program}: {sentence(error.format_message().rstrip('.'))}{hint}")
    return MISUSED


def _end(program: str, text: str) -> NoReturn:
    streams.note(f"{program}: {sentence(text)}")
    raise SystemExit(FAILED) from None
