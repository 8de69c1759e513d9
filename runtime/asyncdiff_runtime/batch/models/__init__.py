"""Models: where their files lie, which commit they are, whether they can be loaded, and loading them.

| module | what it holds |
| --- | --- |
| `sources` | a folder of files at one commit, wherever it lies; `hub`, `bucket` are the remote ones |
| `parts` | the sources that a job names: model, VAE, adapters |
| `layout` | what a model's folder must hold |
| `adapters`, `quantization` | what is put on a model |
| `loading` | the plan of all that, made from small files alone, and the pipeline |
| `downloading` | bringing what is planned to this machine, and saying how far that is |
"""

from asyncdiff_runtime.batch.models.downloading import download
from asyncdiff_runtime.batch.models.loading import Plan, load_pipeline, plan_model
from asyncdiff_runtime.batch.models.parts import BUNDLED_FOLDER, Parts, open_parts
from asyncdiff_runtime.batch.models.sources import Received

__all__ = [
    "BUNDLED_FOLDER",
    "Parts",
    "Plan",
    "Received",
    "download",
    "load_pipeline",
    "open_parts",
    "plan_model",
]
