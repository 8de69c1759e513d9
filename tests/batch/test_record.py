"""`job.json` is created once and obeyed by all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asyncdiff_api.formats.errors import (
    AnotherJobError,
    ConditionalWritesUnsupportedError,
    OutputExistsError,
    WorklistChangedError,
)
from asyncdiff_api.output import ConditionalWrites
from asyncdiff_api.validation import load
from asyncdiff_runtime.batch.record import Writer, probe, settle_record
from asyncdiff_runtime.batch.worklist import file_worklist, inline_worklist
from asyncdiff_runtime.storage import Creation, FolderStorage
from support.jobs import job as document
from support.painting import MODEL, begin


def test_all_writers_of_a_race_obey_one_record(tmp_path: Path) -> None:
    job = load(document())
    with ThreadPoolExecutor(8) as writers:
        records = list(writers.map(lambda _: begin(FolderStorage(tmp_path), job), range(8)))
    assert len({record.attempt for record in records}) == 1


def test_another_job_is_refused_by_the_name_of_the_field(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    begin(storage, load(document({"spec.generate.steps": 20})))
    with pytest.raises(AnotherJobError, match=r"spec\.generate\.steps is 20 there and 30 here"):
        begin(storage, load(document({"spec.generate.steps": 30})))


def test_another_layout_of_the_same_job_is_welcome(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    first = begin(storage, load(document({"spec.parallelism": {"pods": 2}})))
    assert begin(storage, load(document({"spec.parallelism": {"pods": 7, "gpusPerPod": 3}}))) == first


def test_other_model_files_are_refused(tmp_path: Path) -> None:
    storage, job = FolderStorage(tmp_path), load(document())
    begin(storage, job)
    other = MODEL.model_copy(update={"commit": "sha256:1"})
    with pytest.raises(
        AnotherJobError, match=r"pins the model bundled:painting at sha256:0.*here it is sha256:1"
    ):
        settle_record(
            storage,
            job,
            inline_worklist(job.spec.generate),
            Writer(attempt="00000000", run="r"),
            lambda _: other,
        )


def test_a_changed_worklist_is_refused(tmp_path: Path) -> None:
    storage, job = FolderStorage(tmp_path), load(document())
    storage.write("list.jsonl", b'{"prompt": "a fox"}\n')
    begin(storage, job, file_worklist(storage, "list.jsonl", job.spec.generate, "list.jsonl"))
    storage.write("list.jsonl", b'{"prompt": "a dog"}\n')
    with pytest.raises(WorklistChangedError, match=r"list\.jsonl"):
        begin(storage, job, file_worklist(storage, "list.jsonl", job.spec.generate, "list.jsonl"))


def test_on_existing_fail_refuses_another_run_and_not_its_own(tmp_path: Path) -> None:
    storage, job = FolderStorage(tmp_path), load(document({"spec.output.onExisting": "Fail"}))
    worklist = inline_worklist(job.spec.generate)
    first = Writer(attempt="00000000", run="monday")
    settle_record(storage, job, worklist, first, lambda _: MODEL)
    settle_record(storage, job, worklist, Writer(attempt="00000001", run="monday"), lambda _: MODEL)
    with pytest.raises(OutputExistsError, match="holds the job posters"):
        settle_record(storage, job, worklist, Writer(attempt="00000002", run="tuesday"), lambda _: MODEL)


class ForgetfulStorage(FolderStorage):
    """A store that ignores the condition, as some S3 services do."""

    def create(self, key: str, data: bytes, content_type: str = "") -> Creation:
        """Writes whatever was there."""
        self.write(key, data, content_type)
        return Creation.CREATED


def test_the_probe_finds_a_store_that_ignores_conditions(tmp_path: Path) -> None:
    with pytest.raises(ConditionalWritesUnsupportedError, match="BestEffort"):
        probe(ForgetfulStorage(tmp_path), "00000000", ConditionalWrites.REQUIRED)
    probe(ForgetfulStorage(tmp_path), "00000000", ConditionalWrites.BEST_EFFORT)
    probe(FolderStorage(tmp_path), "00000000", ConditionalWrites.REQUIRED)
    assert list(FolderStorage(tmp_path).list("")) == []
