"""Python HLS: a plain function over integers becomes a pipelined datapath (docs/hls.md)."""

from tilewright.hw.hls.fx import Fx, Input, trace
from tilewright.hw.hls.lower import lower
from tilewright.hw.hls.nodes import Datapath
from tilewright.hw.hls.pipeline import Pipeline, PipelineCore, combinational
from tilewright.hw.hls.schedule import DelayTable, Schedule, schedule

__all__ = [
    "Datapath",
    "DelayTable",
    "Fx",
    "Input",
    "Pipeline",
    "PipelineCore",
    "Schedule",
    "combinational",
    "lower",
    "schedule",
    "trace",
]
