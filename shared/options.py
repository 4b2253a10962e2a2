"""The options of a command, made from a settings class: each setting is an option, described by its own docstring."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import logging
import types
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Concatenate,
    Optional,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import typer

from shared.install import needing
from shared.program import troubles_said
from shared.settings import load

S = TypeVar("S")
P = ParamSpec("P")


@dataclass(frozen=True)
class Setting:
    """One setting. `key` is its flat name, as in the options of `load`; `path` are the names of its tables and its field."""

    path: tuple[str, ...]
    kind: type
    default: object  # None where it depends on the host, or where there is none
    of_host: bool
    meaning: str

    @property
    def key(self) -> str:
        """The flat name, as in the environment and in the options of `load`."""
        return "_".join(self.path)

    @property
    def option(self) -> str:
        """The option of the command line, without the unit of seconds."""
        name = self.key.removesuffix("_s").replace("_", "-")
        return f"--{name}/--no-{name}" if self.kind is bool else f"--{name}"

    def variable(self, program: str) -> str:
        """The name of its environment variable."""
        return f"SLED_{program}_{self.key}".upper()

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of an enumeration; none for other types."""
        return tuple(member.value for member in self.kind) if issubclass(self.kind, Enum) else ()

    @property
    def shown_default(self) -> str:
        """The default in words."""
        if self.of_host:
            return "made from the host's name"
        value = self.default.value if isinstance(self.default, Enum) else self.default
        return (
            {True: "on", False: "off"}[value]
            if isinstance(value, bool)
            else str("none" if value in (None, "") else value)
        )


@functools.cache
def settings_of(cls: type, tables: tuple[str, ...] = ()) -> tuple[Setting, ...]:
    """The settings of a class in their order, those of nested classes included."""
    hints, meanings = get_type_hints(cls), _docstrings(cls)
    found: list[Setting] = []
    for field in fields(cls):
        path, hint = (*tables, field.name), hints[field.name]
        if isinstance(hint, type) and is_dataclass(hint):
            found += settings_of(hint, path)
            continue
        if get_origin(hint) in (Union, types.UnionType):
            hint = next(kind for kind in get_args(hint) if kind is not type(None))
        of_host = field.default is MISSING
        found.append(Setting(path, hint, None if of_host else field.default, of_host, meanings[field.name]))
    return tuple(found)


def takes_settings(
    cls: type[S], program: str, quiet: int, of: str | None = None
) -> Callable[[Callable[Concatenate[S, P], None]], Callable[..., None]]:
    """Make a command of a function: its first argument, the settings, comes from options; its other ones stay as they are.

    `program` is the one that they are the settings of, such as "node", `quiet` the level of logging without --verbose. `of` says whose command
    it is where that is another program's. All that goes wrong ends the program as
    `troubles_said` does it; of a package that is not installed the sentence says how to install it.
    """

    def decorate(command: Callable[Concatenate[S, P], None]) -> Callable[..., None]:
        own = list(inspect.signature(command).parameters.values())[1:]
        hints = get_type_hints(command, include_extras=True)
        settings: Any = cls
        found = settings_of(settings)
        parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
        parameters += _of_settings(settings, program)

        @functools.wraps(command)
        def run(**given: Any) -> None:
            logging.basicConfig(
                level=logging.INFO if given.pop("verbose") else quiet, format="%(levelname)s %(name)s: %(message)s"
            )
            config = given.pop("config")
            options = {setting.key: given.pop(setting.key) for setting in found}
            with troubles_said(f"sled-{of or program}"), needing(of or program):
                bound: Callable[[], None] = functools.partial(command, load(cls, program, options, config), **given)
                bound()

        # Keyword arguments throughout: what has a default may stand before what has none.
        keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        run.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
        del run.__dict__["__wrapped__"]
        return run

    return decorate


@functools.cache
def _of_settings(cls: Any, program: str) -> tuple[inspect.Parameter, ...]:
    """The options that all commands have."""
    verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens.")]
    return (
        _parameter("config", Path, "--config", f"Settings file. [default: ~/.config/sled/{program}.toml]"),
        *(
            _parameter(
                s.key,
                _read_as(s),
                s.option,
                f"{s.meaning} [default: {s.shown_default}; env: {s.variable(program)}]",
                "|".join(s.choices) or None,
            )
            for s in settings_of(cls)
        ),
        inspect.Parameter("verbose", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=verbose),
    )


def _parameter(name: str, kind: type, option: str, meaning: str, metavar: str | None = None) -> inspect.Parameter:
    option_info = typer.Option(option, help=meaning, metavar=metavar, show_default=False)
    optional: Any = Optional[kind]
    annotation = Annotated[optional, option_info]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _read_as(setting: Setting) -> type:
    """What the command line takes: of a choice the text, so that a wrong one is reported as in a file."""
    return str if setting.choices else setting.kind


@functools.cache
def _docstrings(cls: type) -> dict[str, str]:
    """The strings behind the fields of a class, in one line each."""
    # Of the whole file: `inspect.getsource` looks for a class's lines word by word, which takes ten times as long.
    source = "".join(linecache.getlines(inspect.getsourcefile(cls) or ""))
    body = next(each for each in ast.parse(source).body if isinstance(each, ast.ClassDef) and each.name == cls.__name__)
    found: dict[str, str] = {}
    for field, behind in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(behind, ast.Expr):
            assert isinstance(behind.value, ast.Constant)
            found[field.target.id] = " ".join(str(behind.value.value).split())
    return found
