"""A checkpoint: a folder in the form of `transformers`, checked as far as can be before it is loaded, and once it is.

No code of a checkpoint is ever run: its own classes are not imported, and pickles are not opened.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM
from transformers import logging as transformers_logging
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from hub.model.attention_tables import add_to_tables
from hub.model.linear import turn_transposed
from hub.model.remote import fetched
from hub.model.weight_files import TABLES, Stored, read_json, same_contents, stored_weights
from shared.errors import PairError, brief
from shared.memory import available_memory
from shared.pair import REMOTE

_CONFIG_BYTES = 2**22  # of the largest config.json that is read
_FACTS = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
_MOST_LAYERS = 4096
_OTHER_INPUTS = ("text_config", "vision_config", "audio_config")  # parts of models that read more than text
_SAID = 200  # characters at most of what another library says of an error
_NAMED = 3  # names of tensors that a sentence has at most


def load_checkpoint(
    target: str | Path,
    *,
    dtype: torch.dtype,
    attention: str | None = None,
    refuse: Callable[[Any], object] = lambda _: None,
) -> Any:
    """The causal LM in the folder `target`, on the CPU, with weights in `dtype` and the attention function of that name, or its usual one.

    `refuse` is given the configuration before anything is loaded, and raises PairError for what it does not want. `target` may also be REMOTE and the name of a model of the Hugging Face hub. Raises PairError for a folder that is not
    whole, for weights that are not those that its configuration describes, and for a model that is of another kind.
    """
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # what matters of what it warns of is checked here
    folder = fetched(str(target)) if str(target).startswith(REMOTE) else Path(target)
    if not folder.is_dir():
        raise PairError(f"cannot load the target {folder}: there is no such folder")
    with _said_briefly(folder):
        config, stored = look_at(folder, dtype=dtype, attention=attention, refuse=refuse)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation=attention,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in the report, and refused
        )
        model, report = loaded
        _refuse_others_weights(folder, report)
        _refuse_damaged_numbers(folder, model)
        _refuse_tied_that_differ(folder, model, stored)
        turn_transposed(model)
    return model.eval()


def look_at(
    folder: Path, *, dtype: torch.dtype, attention: str | None = None, refuse: Callable[[Any], object] = lambda _: None
) -> tuple[Any, dict[str, Stored]]:
    """The configuration and the stored weights of a checkpoint, as far as can be told before anything is loaded; see `load_checkpoint`."""
    config = _config(folder)
    # Numbers have 4 bytes at most. Files that are far too large can't even be opened.
    _refuse_too_large(folder, sum(path.stat().st_size for path in folder.glob("*.safetensors")) // 4, dtype)
    stored = stored_weights(folder)
    _compare_layers(folder, config, stored)
    refuse(config)
    if attention is not None:
        add_to_tables(config, attention)
    _compare_shapes(folder, config, stored, attention)
    _refuse_too_large(folder, sum(math.prod(tensor.shape) for tensor in stored.values()), dtype)
    return config, stored


def rotary_limit(config: Any) -> int | None:
    """The number of positions past which every rotary factor changes, also those of the positions before; None without such a limit.

    A forward has rows of several texts, and computes with the factors that the longest needs.
    """
    scaling = [getattr(config, name, None) or {} for name in ("rope_scaling", "rope_parameters")]
    parts = [part for each in scaling for part in (each, *each.values()) if isinstance(part, dict)]
    if not any(part.get("rope_type", part.get("type")) in ("longrope", "su", "dynamic") for part in parts):
        return None
    name = "original_max_position_embeddings"
    limits = [getattr(config, name, None), *(part.get(name) for part in parts)]
    return min((limit for limit in limits if isinstance(limit, int) and limit > 0), default=None)


def _config(folder: Path) -> Any:
    """The configuration of a model that the hub can compute. Raises PairError."""
    written = read_json(folder / "config.json", _CONFIG_BYTES)
    quantized = written.get("quantization_config", written.get("compression_config"))
    if quantized is not None:
        method = quantized.get("quant_method", "?") if isinstance(quantized, dict) else "?"
        raise PairError(
            f"the target in {folder} is quantized ({str(method)[:_SAID]}), which this hub does not compute; take the checkpoint in "
            "float32, bfloat16 or float16 that it was made from, and --weights int8 where memory is short"
        )
    if (folder / "adapter_config.json").exists():
        raise PairError(f"{folder} holds an adapter; merge it into its model, and save that, first")
    kind = written.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        hint = (
            "the hub never runs code that comes with a checkpoint" if "auto_map" in written else "update transformers"
        )
        raise PairError(
            f"transformers {transformers.__version__} does not know the architecture {str(kind)[:_SAID]!r} of {folder}; {hint}, or "
            "choose another target"
        )
    if written.get("transformers_weights"):
        raise PairError(
            f"{folder / 'config.json'} names a file of weights of its own (transformers_weights); take that line out"
        )
    layers = written.get("num_hidden_layers")
    if isinstance(layers, int) and layers > _MOST_LAYERS:  # some architectures make a list of them at once
        raise PairError(
            f"config.json in {folder} describes {layers} layers, and no model has more than {_MOST_LAYERS}; copy it from the checkpoint"
        )
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    other = getattr(config, "is_encoder_decoder", False) or any(getattr(config, part, None) for part in _OTHER_INPUTS)
    if other or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise PairError(
            f"the target in {folder} ({kind}) is no causal language model of text alone; choose one that is"
        )
    if getattr(MODEL_FOR_CAUSAL_LM_MAPPING[type(config)], "_is_stateful", False):
        raise PairError(
            f"the target in {folder} ({kind}) has recurrent layers, whose state can't be truncated after a rejected draft; choose a "
            "target whose layers all attend to positions"
        )
    for fact in _FACTS:
        value = getattr(config, fact, None)
        if not isinstance(value, int) or value < 1:
            raise PairError(
                f"{folder / 'config.json'} gives {str(value)[:_SAID]} for {fact}, where the hub needs a number above 0"
            )
    return config


def _compare_layers(folder: Path, config: Any, stored: Mapping[str, Stored]) -> None:
    """Raise PairError where the configuration has more layers than the weights: it may have any number."""
    numbers = [int(found[1]) for name in stored if (found := re.search(r"\.(\d+)\.", name))]
    layers = max(numbers, default=-1) + 1
    if layers < config.num_hidden_layers:
        raise PairError(
            f"config.json in {folder} describes {config.num_hidden_layers} layers, and its weights are of {layers}; "
            "copy both from the same checkpoint"
        )


def _compare_shapes(folder: Path, config: Any, stored: Mapping[str, Stored], attention: str | None) -> None:
    """Raise PairError where the headers show already that the weights belong to another configuration."""
    try:
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(config, attn_implementation=attention, trust_remote_code=False)
    except KeyError as error:
        if error.args != (attention,):
            raise
        # An architecture that picks its attention from a table of its own does not find ours there.
        raise PairError(
            f"the architecture {config.model_type!r} takes its attention from a table of its own, which transformers {transformers.__version__} "
            "gives the hub no place in; choose another target"
        ) from error
    expected = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    _refuse(folder, "of another shape", [n for n in expected if n in stored and stored[n].shape != expected[n]])


def _refuse_too_large(folder: Path, numbers: int, dtype: torch.dtype) -> None:
    """Raise PairError for as many numbers as memory can't hold: the system would end the program in the middle."""
    needed = numbers * dtype.itemsize
    there = available_memory()
    if there is not None and needed > there:
        raise PairError(
            f"the weights in {folder} take {needed / 2**30:.1f} GiB in {str(dtype).removeprefix('torch.')}, and {there / 2**30:.1f} GiB of memory "
            "are free; choose a smaller model, a --dtype of 16 bits, or a machine with more memory"
        )


def _refuse_others_weights(folder: Path, report: Mapping[str, Any]) -> None:
    mismatched = [each if isinstance(each, str) else each[0] for each in report["mismatched_keys"]]
    _refuse(folder, "lacking", report["missing_keys"])
    _refuse(folder, "of another shape", mismatched)
    _refuse(folder, "unknown to it", [name for name in report["unexpected_keys"] if not name.endswith(TABLES)])
    if report.get("error_msgs"):
        raise PairError(f"cannot load the target {folder}: {str(report['error_msgs'][0])[:_SAID]}")


def _refuse(folder: Path, how: str, names: Collection[str]) -> None:
    if names:
        shown = ", ".join(sorted(names)[:_NAMED])
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise PairError(
            f"the weights in {folder} are not those that its config.json describes: {shown}{more} {how}; "
            "copy both from the same checkpoint"
        )


def _refuse_damaged_numbers(folder: Path, model: Any) -> None:
    """Raise PairError for a weight that is NaN or infinite, or a matrix of zeros, as a download that broke off may leave them.

    What an id's embedding holds concerns the texts with that id alone, and some checkpoints never gave one to ids that they
    never use.
    """
    embedding = model.get_input_embeddings().weight
    tied = getattr(model.get_output_embeddings(), "weight", None) is embedding
    for name, parameter in model.named_parameters():
        if parameter is embedding and not tied:
            continue
        least, most = torch.aminmax(parameter.detach())
        if not (bool(least.isfinite()) and bool(most.isfinite())):
            raise PairError(
                f"{name} in {folder} holds NaN or infinity in {str(parameter.dtype).removeprefix('torch.')}; copy the "
                "checkpoint again, or load it with a --dtype that has room for its numbers"
            )
        if parameter.ndim > 1 and "bias" not in name and not least and not most:
            raise PairError(f"{name} in {folder} holds nothing but zeros; copy the checkpoint again")


def _refuse_tied_that_differ(folder: Path, model: Any, stored: Mapping[str, Stored]) -> None:
    """Raise PairError where weights are one by the configuration, and two different ones in the files."""
    first: dict[int, str] = {}
    for name, tensor in model.state_dict().items():
        other = first.setdefault(tensor.data_ptr(), name) if name in stored else name
        if other != name and not same_contents(name, other, stored):
            raise PairError(
                f"{name} and {other} in {folder} differ, and its config.json ties them (tie_word_embeddings); copy both from the "
                "same checkpoint"
            )


@contextlib.contextmanager
def _said_briefly(folder: Path) -> Iterator[None]:
    """Turn whatever `transformers` raises about a checkpoint, in many ways and at length, into a PairError of one sentence."""
    try:
        yield
    except PairError:
        raise
    except Exception as error:
        raise PairError(
            f"cannot load the target {folder} ({brief(error)}); it is damaged, too large for this machine, or of no use to "
            f"transformers {transformers.__version__}"
        ) from error
