"""Models of the Hugging Face hub: fetched into its cache, or a sentence about why not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.errors import PairError, brief
from shared.pair import REMOTE

WEIGHTS = ("config.json", "model*.safetensors", "model.safetensors.index.json")


def fetched(name: str, files: Sequence[str] = WEIGHTS) -> Path:
    """The folder of the model `name`, owner/name or owner/name@revision, with or without REMOTE before it, with those files.

    Raises PairError for a name that there is not, a model that one must ask for, no network, and HF_HUB_OFFLINE.
    """
    from huggingface_hub import errors, snapshot_download

    repository, _, revision = name.removeprefix(REMOTE).partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=list(files)))
    except errors.GatedRepoError:
        said = f"its owner must allow it first: ask at https://huggingface.co/{repository}, then run hf auth login"
    except errors.RevisionNotFoundError:
        said = f"it has no revision {revision!r}; look at https://huggingface.co/{repository}"
    except errors.RepositoryNotFoundError:
        said = "there is no such model, or it is private; check the name, or run hf auth login"
    except errors.HFValidationError:
        said = "models are named owner/name"
    except errors.OfflineModeIsEnabled:
        said = "it is not in the cache, and HF_HUB_OFFLINE forbids to fetch it; unset that once, with a network"
    except errors.LocalEntryNotFoundError as error:
        offline = isinstance(error.__cause__, errors.OfflineModeIsEnabled) or "offline mode" in str(error)
        said = (
            "it is not in the cache, and HF_HUB_OFFLINE forbids to fetch it; unset that once, with a network"
            if offline
            else "it is not in the cache, and the network does not lead to the Hugging Face hub; name a folder instead"
        )
    except Exception as error:
        # A proxy, a full disk, a server that fails: the library under it raises what it likes.
        said = brief(error)
    raise PairError(f"cannot fetch {repository}: {said}")
