"""The commands `sled-hub pair create`, `check`, `list`, `plan` and `distil`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from hub.pairing.source import find_source
from hub.settings import check_device, check_dtype
from shared.errors import SettingsError
from shared.install import needing
from shared.loading import loaded

pair = typer.Typer(
    help="Pairs of models: make one of your own, look at them.", no_args_is_help=True, rich_markup_mode=None
)

Json = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]


@pair.command()
def create(
    *,
    target: Annotated[
        str, typer.Option(help="The model that answers: owner/name on the Hugging Face hub, a folder or a .gguf file.")
    ],
    out: Annotated[Path, typer.Option(help="The pair's folder, which is made.")],
    draft: Annotated[
        Optional[str],
        typer.Option(
            help="The small model that devices run, in the same forms, or none. [default: the target, if it is small]"
        ),
    ] = None,
    name: Annotated[Optional[str], typer.Option(help="The pair's name. [default: the target's]")] = None,
    bits: Annotated[Optional[int], typer.Option(help="Bits of the draft's weights, 4 or 8. [default: 8]")] = None,
    context: Annotated[
        Optional[int], typer.Option(min=64, help="Positions of the draft. [default: the target's, at most 8192]")
    ] = None,
    text: Annotated[
        Optional[Path], typer.Option(help="File of prompts such as your devices put, one in a line.")
    ] = None,
    template: Annotated[Optional[Path], typer.Option(help="Chat template, for a model that has none.")] = None,
    dtype: Annotated[
        str, typer.Option(help="Type of the target's numbers: auto, float32, bfloat16 or float16.")
    ] = "auto",
    device: Annotated[str, typer.Option(help="Where the target runs meanwhile: auto, cpu, cuda or cuda:N.")] = "auto",
    anyway: Annotated[bool, typer.Option("--anyway", help="Keep a draft that is seldom right, too.")] = False,
    as_json: Json = False,
) -> None:
    """Make a pair of models of your own. Interrupted, it goes on where it was when it is run again."""
    from shared.pair import check_pair_name

    check_device(device)
    check_dtype(dtype, "auto")
    if name is not None:
        check_pair_name(name)
    _check_bits(bits)
    _require_files(text, template)
    find_source(target)  # what is misspelt is told before the seconds that imports take
    with needing("export"):
        from hub.pairing.making import Wish, make_pair
        from hub.pairing.serving import named
        from hub.pairing.shown import put_made, shown

        loaded()
        wish = Wish(
            target=named(target),
            draft=None if draft is None else named(draft),
            name=name,
            bits=bits,
            context=context,
            text=_absolute(text),
            template=_absolute(template),
            dtype=dtype,
            device=device,
            anyway=anyway,
        )
        with shown() as progress:
            figures = make_pair(wish, out.expanduser().resolve(), progress)
        put_made(out, figures, as_json=as_json)


@pair.command()
def check(
    folder: Annotated[str, typer.Argument(help="The pair's folder, or the name of a built-in one.")],
    as_json: Json = False,
) -> None:
    """Look whether a pair is whole: its files, its target, its chat template and its drafts."""
    with needing("export"):
        from hub.pairing.check import check_pair
        from hub.pairing.shown import put_checked, shown

        loaded()
        with shown() as progress:
            found = check_pair(folder, progress)
        put_checked(found, as_json=as_json)


@pair.command()
def distil(
    *,
    target: Annotated[str, typer.Option(help="The model to take layers of: owner/name, a folder or a .gguf file.")],
    layers: Annotated[int, typer.Option(min=1, help="How many of its layers the draft has.")],
    out: Annotated[Path, typer.Option(help="Folder of the draft, which is made, for `pair create --draft`.")],
    bits: Annotated[
        Optional[int], typer.Option(help="Train its weights to be in 4 or 8 bits; all layers may be kept then.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.01, max=1e5, help="Minutes of work.")] = 60.0,
    text: Annotated[
        Optional[Path], typer.Option(help="File of prompts such as your devices put, one in a line.")
    ] = None,
    template: Annotated[Optional[Path], typer.Option(help="Chat template, for a model that has none.")] = None,
    device: Annotated[str, typer.Option(help="Where the target runs meanwhile: auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Json = False,
) -> None:
    """Make a draft of a target alone: some of its layers, trained on its own answers. Interrupted, it goes on when it is run again."""
    check_device(device)
    _check_bits(bits)
    _require_files(text, template)
    find_source(target)
    with needing("export"):
        from hub.distil.distilling import Lesson, distil
        from hub.pairing.serving import named
        from hub.pairing.shown import put_distilled, shown

        loaded()
        lesson = Lesson(named(target), layers, minutes, bits, _absolute(text), _absolute(template), device)
        with shown() as progress:
            figures = distil(lesson, out.expanduser().resolve(), progress)
        put_distilled(out, figures, as_json=as_json)


@pair.command()
def plan(
    folder: Annotated[Path, typer.Argument(help="The pair's folder, which gets the draft.")],
    *,
    device: Annotated[
        str, typer.Option(help="What the draft is for: pi4, pi5, orin-nano or a file of `sled-node profile --out`.")
    ],
    draft: Annotated[
        Optional[str],
        typer.Option(help="The model to make it of, in the target's vocabulary. [default: the target itself]"),
    ] = None,
    loss: Annotated[float, typer.Option(min=0.0, max=0.5, help="Share of acceptance that few bits may cost.")] = 0.01,
    download: Annotated[
        float, typer.Option(min=0.1, max=1e5, help="Minutes that the device may take to fetch it.")
    ] = 30,
    round_ms: Annotated[
        float,
        typer.Option("--round", min=1, max=1e5, help="Milliseconds of a round besides drafting: hub and network."),
    ] = 100,
    context: Annotated[int, typer.Option(min=64, max=10**6, help="Positions of the draft.")] = 2048,
    text: Annotated[
        Optional[Path], typer.Option(help="File of prompts such as your devices put, one in a line.")
    ] = None,
    compute: Annotated[
        str, typer.Option("--compute", help="Where the target runs meanwhile: auto, cpu, cuda or cuda:N.")
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Make a draft to measure for a device: bits of each layer, head and embedding. Interrupted, it goes on when it is run again."""
    from shared.device_profile import read_profile
    from shared.pair import load_pair

    check_device(compute)
    _require_files(text)
    profile, known = read_profile(device), load_pair(str(folder))
    if draft is not None:
        find_source(draft)
    with needing("export"):
        from hub.pairing.serving import named
        from hub.pairing.shown import put_planned, shown
        from hub.planning.planning import Order, make_plan

        loaded()
        order = Order(
            draft=None if draft is None else named(draft),
            loss=loss,
            download_s=60 * download,
            round_s=round_ms / 1000,
            context=context,
            text=_absolute(text),
            device=compute,
        )
        with shown() as progress:
            made = make_plan(order, known, profile, progress)
        put_planned(folder, made, as_json=as_json)


@pair.command("list")
def list_(
    folder: Annotated[Optional[Path], typer.Argument(help="Where to look. [default: here]")] = None,
    as_json: Json = False,
) -> None:
    """List the built-in pairs, those that `serve --target` has made, and those in a folder."""
    from hub.pairing.listing import show_pairs

    loaded()
    show_pairs(folder or Path(), as_json=as_json)


def _check_bits(bits: int | None) -> None:
    if bits not in {None, 4, 8}:
        raise SettingsError(f"--bits may be 4 or 8, not {bits}")


def _require_files(*files: Path | None) -> None:
    for file in files:
        if file is not None and not file.is_file():
            raise SettingsError(f"there is no file {file}")


def _absolute(file: Path | None) -> str | None:
    return None if file is None else str(file.resolve())
