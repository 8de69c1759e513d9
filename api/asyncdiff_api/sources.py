"""Where bytes lie that several sections can name: a volume in the cluster."""

from typing import Annotated

from asyncdiff_api.fields import OBJECT_NAME, RELATIVE_PATH, Label, Section


class ModelVolume(Section):
    """A folder of a volume that a model or an adapter is read from."""

    claim_name: Annotated[
        str, OBJECT_NAME, Label("PersistentVolumeClaim in the job's namespace.", identity=True, mutable=False)
    ]
    path: Annotated[
        str,
        RELATIVE_PATH,
        Label("Folder inside the volume. Default: the volume's root.", identity=True, mutable=False),
    ] = ""


class OutputVolume(Section):
    """A folder of a volume that pictures are written to."""

    claim_name: Annotated[
        str,
        OBJECT_NAME,
        Label(
            "PersistentVolumeClaim in the job's namespace. ReadWriteMany where pods run on several nodes.",
            identity=False,
            mutable=False,
        ),
    ]
    path: Annotated[
        str,
        RELATIVE_PATH,
        Label("Folder inside the volume. Default: the volume's root.", identity=False, mutable=False),
    ] = ""
