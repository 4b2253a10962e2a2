"""Options that several benchmarks have."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.settings import Weights
from tools.rig.shapes import SHAPES

Requests = Annotated[int, typer.Option(min=1, help="how many requests")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object as the last line")]
Shape = Annotated[str, typer.Option(help=f"of the target: {', '.join(SHAPES)}")]
Dtype = Annotated[str, typer.Option(help="of the target: bfloat16, float16 or float32")]
AnyDtype = Annotated[
    str, typer.Option(help="bfloat16, float16, float32, or int8: weights in int8, the rest in bfloat16")
]
Threads = Annotated[int, typer.Option(min=0, max=1024, help="of torch on a CPU; 0 takes as many as it takes by itself")]
WeightForm = Annotated[Weights, typer.Option(help="auto (as the dtype says), int8 or int4")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]
Seconds = Annotated[float, typer.Option(min=0.1, help="at least so long for each measurement")]
PairName = Annotated[str, typer.Option("--pair", help="built-in name or folder of the pair")]
