"""A whole job on a real cluster: submitted, worked off by pods, found in the bucket."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.e2e import condition, metrics_of, records_of, small_job, status_of, team_namespace
from support.installation import Installation

logger = logging.getLogger(__name__)

pytestmark = pytest.mark.timeout(1200)
ITEMS = 4
CHROMIUM = shutil.which("chromium")


@dataclass(frozen=True)
class Finished:
    """A job that has come to its end."""

    installation: Installation
    job: dict[str, Any]
    status: dict[str, Any]
    bucket: str

    @property
    def prefix(self) -> str:
        """Where its output lies in the bucket."""
        return str(self.job["spec"]["output"]["s3"]["prefix"])

    def kubectl(self, *words: str) -> str:
        """Runs kubectl in the job's namespace."""
        return self.installation.cluster.kubectl("-n", self.job["metadata"]["namespace"], *words)

    def download(self, folder: Path) -> None:
        """Copies all that the job has written."""
        client = self.installation.s3.client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix):
            for listed in page["Contents"]:
                target = folder / listed["Key"].removeprefix(self.prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                client.download_file(self.bucket, listed["Key"], str(target))


def table(shown: str) -> str:
    """What a command has shown, moved to the right and without the blanks that fill its columns."""
    return "\n".join(f"    {line.rstrip()}".rstrip() for line in shown.splitlines()).rstrip()


@pytest.fixture(scope="module")
def finished(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A job of 2 shards of 2 ranks each, submitted as a person would, at its end."""
    cluster, bucket = installation.cluster, installation.s3.bucket()
    job = small_job("posters", team_namespace(cluster, installation.s3), bucket)
    file = tmp_path_factory.mktemp("job") / "posters.json"
    file.write_text(json.dumps(job))
    waited = installation.asyncdiff("submit", str(file), "--wait")
    finished = Finished(installation, job, status_of(cluster, job), bucket)
    logger.info("posters was submitted, and waited for:\n%s", table(waited.stdout) or waited.stderr[-200:])
    assert waited.returncode == 0, (
        f"{waited.stderr}\n{finished.kubectl('describe', 'asyncdiffjobs,jobs,pods')}"
    )
    return finished


def test_the_charts_own_test_passes(installation: Installation) -> None:
    told = installation.helm.run("test", "asyncdiff", f"--namespace={installation.system}", "--timeout=2m")
    assert "Succeeded" in told


def test_the_status_tells_that_every_item_was_made(finished: Finished) -> None:
    status = finished.status
    assert condition(status, "Complete")["status"] == "True", status
    assert status["items"] == {"total": ITEMS, "done": ITEMS, "failed": 0, "rejected": 0, "running": 0}
    assert status["shards"]["succeeded"] == 2
    assert status["phase"] == "Complete"


def test_the_command_line_tells_how_it_went_and_what_each_shard_logged(finished: Finished) -> None:
    where = ("--namespace", finished.job["metadata"]["namespace"])

    status = finished.installation.asyncdiff("status", "posters", *where)
    logs = finished.installation.asyncdiff("logs", "posters", "--shard", "1", *where)
    last = finished.installation.asyncdiff("logs", "posters", "--finish", *where)

    assert (status.returncode, logs.returncode, last.returncode) == (0, 0, 0), status.stderr + logs.stderr
    assert "Complete" in status.stdout
    assert f"{ITEMS} of {ITEMS}" in status.stdout
    assert "the model is loaded" in logs.stdout
    assert last.stdout


def test_people_see_it_in_kubectls_columns_and_events(finished: Finished) -> None:
    assert f"Complete   {ITEMS}      {ITEMS}" in finished.kubectl("get", "asyncdiffjobs")
    reasons = finished.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}").split()
    assert {"Valid", "Generating", "Finishing", "AllItemsDone"} <= set(reasons)


def test_the_operator_counts_it_in_its_metrics(finished: Finished) -> None:
    namespace = finished.job["metadata"]["namespace"]
    wanted = f'asyncdiff_items{{namespace="{namespace}",state="done"}} {ITEMS}.0'
    pages = metrics_of(finished.installation)
    assert ["asyncdiff_operator_leader 1.0" in page for page in pages] == [wanted in page for page in pages]
    assert sum(wanted in page for page in pages) == 1


def test_the_manifest_agrees_with_the_objects_of_the_bucket(finished: Finished, tmp_path: Path) -> None:
    finished.download(tmp_path)
    records = records_of(finished.installation.s3, finished.bucket, finished.job)
    for record in records:
        body = (tmp_path / record["key"]).read_bytes()
        assert hashlib.sha256(body).hexdigest() in record["sha256"]
    items = [path for path in (tmp_path / "items").rglob("*") if path.is_file()]
    assert len(records) == len(items) == ITEMS
    assert (tmp_path / "_SUCCESS").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_the_gallery_shows_it_in_a_browser(finished: Finished, tmp_path: Path) -> None:
    finished.download(tmp_path)
    address = (tmp_path / "gallery" / "index.html").as_uri()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", "--dump-dom"]
    shown = subprocess.run(
        [str(CHROMIUM), *flags, address], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert "posters" in shown
    assert shown.count('class="tile ') == ITEMS
