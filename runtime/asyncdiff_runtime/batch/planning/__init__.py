"""What a job will cost, told from its model's configuration alone: no weights, no GPU.

| module | what it holds |
| --- | --- |
| `skeleton` | a pipeline whose modules have forms and no values |
| `tokens` | what stands for a tokenizer whose vocabulary is not there |
| `following` | a pipeline's own call, followed from prompt to pixels |
| `figures` | what that costs and takes, on any GPU |
| `forecast` | seconds and pictures an hour, by GPU and strategy |
| `stages` | a denoiser in stages: its cut, what goes between, seconds |
"""

from asyncdiff_runtime.batch.planning.figures import Figures, figures_of
from asyncdiff_runtime.batch.planning.forecast import Forecast, forecasts, ways_of

__all__ = ["Figures", "Forecast", "figures_of", "forecasts", "ways_of"]
