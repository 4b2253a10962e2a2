"""Renders a chat template in a process of its own: `python template_worker.py`, started by `template.py`.

A template is a program that came with a model. Jinja's sandbox keeps it from the system, but not from loops without end
or from strings of gigabytes, many of which are made in one call that nothing inside the process can end. Here the
kernel bounds computing and memory, and whatever happens, the node loses no more than this process.

Standard input has one JSON object in a line: first {"source": the template, "variables": {…}}, then {"messages": […]}
for each prompt. Each is answered in a line: {"text": …}, or {"error": a sentence's end}. The first also has "undefined":
the names that the template uses and nobody defines.
"""

from __future__ import annotations

import json
import resource
import sys
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

COMPUTING_S = 2  # seconds of computing for one line of input, rounded up to the next full second of the process
MEMORY = 256 * 2**20  # bytes of data
MAX_TEXT = 16 * 2**20  # characters of a prompt
_MAX_ERROR = 300  # characters of what an exception says


class _Generation(Extension):
    """{% generation %}…{% endgeneration %} marks, for training, what the assistant wrote; here it is what stands inside."""

    tags = {"generation"}  # noqa: RUF012 - so the base class declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _environment() -> ImmutableSandboxedEnvironment:
    """What `apply_chat_template` of transformers offers templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return environment


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """JSON as it is written elsewhere: Jinja's own filter escapes it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: Any) -> NoReturn:
    raise TemplateError(str(message))


def _sentence(error: Exception) -> str:
    """What went wrong, in one line of printable characters."""
    said = str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"
    if isinstance(error, TemplateSyntaxError):
        said = f"{error.message} (line {error.lineno})"
    line = "".join(c if c.isprintable() else " " for c in said[:_MAX_ERROR])
    return " ".join(line.split())


class _Worker:
    """The template, once its source has come."""

    def __init__(self, source: str, variables: dict[str, str]) -> None:
        environment = _environment()
        parsed = environment.parse(source)
        self.undefined = sorted(meta.find_undeclared_variables(parsed) - variables.keys())
        self._template = environment.from_string(parsed)
        self._variables = variables

    def render(self, messages: list[dict[str, str]], tools: list[dict[str, Any]] | None = None) -> str:
        """The text of a chat up to where the assistant begins to write."""
        text = self._template.render(
            messages=messages, add_generation_prompt=True, tools=tools, documents=None, **self._variables
        )
        if len(text) > MAX_TEXT:
            raise ValueError(f"it wrote {len(text)} characters, and {MAX_TEXT} are allowed")
        return text


def _limit(resource_kind: int, amount: int) -> None:
    """Let this process have at most `amount` of a resource, or less where it was given less."""
    _, most = resource.getrlimit(resource_kind)
    resource.setrlimit(resource_kind, (amount if most == resource.RLIM_INFINITY else min(amount, most), most))


def main() -> None:
    """Answer each line of standard input."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_DATA, MEMORY)
    worker: _Worker | None = None
    for line in sys.stdin.buffer:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + COMPUTING_S)
        reply: dict[str, Any]
        try:
            request = json.loads(line)
            if worker is None:
                worker = _Worker(**request)
                reply = {"undefined": worker.undefined}
            else:
                reply = {"text": worker.render(**request)}
        except Exception as error:
            reply = {"error": _sentence(error)}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
