"""Models: where their files lie, which commit they are, whether they can be loaded, and loading them.

| module | what it holds |
| --- | --- |
| `sources` | a folder of files at one commit, wherever it lies; `hub`, `bucket` are the remote ones |
| `parts` | the sources that a job names: model, VAE, adapters |
| `layout` | what a model's folder must hold |
| `adapters`, `quantization` | what is put on a model |
| `loading` | the plan of all that, made from small files alone, and the pipeline |
"""

from asyncdiff_runtime.batch.models.loading import Plan, load_pipeline, plan_model
from asyncdiff_runtime.batch.models.parts import BUNDLED_FOLDER, Parts, open_parts

__all__ = ["BUNDLED_FOLDER", "Parts", "Plan", "load_pipeline", "open_parts", "plan_model"]
