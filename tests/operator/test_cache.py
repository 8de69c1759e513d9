"""Whatever happens to events on their way, the cache ends up with what the API server has."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from asyncdiff_operator.cache import Cache, JobKey, version_of
from asyncdiff_operator.client import Listing
from asyncdiff_operator.names import JOB_UID_LABEL
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.resources import ASYNCDIFFJOBS, JOBS, PODS, Resource
from hypothesis import given
from hypothesis import strategies as st

KEY = JobKey("team", "posters")


def manifest(
    resource: Resource, name: str, uid: str, version: int, *, job_uid: str = "", **rest: Any
) -> dict[str, Any]:
    labels = {JOB_UID_LABEL: job_uid} if job_uid else {}
    metadata = {
        "namespace": KEY.namespace,
        "name": name,
        "uid": uid,
        "resourceVersion": str(version),
        "labels": labels,
    }
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **rest}


def listing(version: int, *items: Manifest) -> Listing:
    return Listing(items=items, resource_version=str(version))


@dataclass
class Store:
    """An API server's memory: what exists, and every event that it sent."""

    version: int = 0
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def write(self, name: str, what: str) -> None:
        self.version += 1
        known = self.objects.get(name)
        if what == "delete":
            if known is not None:
                gone = manifest(PODS, name, known["metadata"]["uid"], self.version, job_uid="j")
                del self.objects[name]
                self.events.append(("DELETED", gone))
            return
        uid = known["metadata"]["uid"] if known is not None else f"{name}-{self.version}"
        stored = manifest(PODS, name, uid, self.version, job_uid="j")
        self.objects[name] = stored
        self.events.append(("MODIFIED" if known else "ADDED", stored))

    def list(self) -> Listing:
        return listing(self.version, *self.objects.values())


WRITES = st.lists(
    st.tuples(st.sampled_from(("p0", "p1", "p2")), st.sampled_from(("put", "delete"))), max_size=20
)


@given(writes=WRITES, data=st.data())
def test_duplicated_dropped_and_reordered_events_and_one_list_give_what_there_is(
    writes: list[tuple[str, str]], data: st.DataObject
) -> None:
    store, cache, lists = Store(), Cache(), []
    for name, what in writes:
        store.write(name, what)
        if data.draw(st.booleans(), label="list now"):
            lists.append(store.list())
    arriving: list[Callable[[], object]] = [partial(cache.adopt, PODS, listed) for listed in lists]
    picks = st.lists(st.sampled_from(store.events), max_size=30) if store.events else st.just([])
    for kind, item in data.draw(picks, label="what arrives"):
        change = cache.remove if kind == "DELETED" else cache.put
        arriving.append(partial(change, PODS, item))
    for arrive in data.draw(st.permutations(arriving), label="order"):
        arrive()

    cache.adopt(PODS, store.list())

    found = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in cache.children(PODS, "j")}
    assert found == {name: stored["metadata"]["uid"] for name, stored in store.objects.items()}
    versions = {
        pod["metadata"]["name"]: pod["metadata"]["resourceVersion"] for pod in cache.children(PODS, "j")
    }
    assert versions == {n: stored["metadata"]["resourceVersion"] for n, stored in store.objects.items()}
    assert cache.count(PODS) == len(store.objects)


def test_an_object_that_is_gone_does_not_come_back_by_a_late_event() -> None:
    cache = Cache()
    cache.put(PODS, manifest(PODS, "p", "u", 5, job_uid="j"))
    cache.remove(PODS, manifest(PODS, "p", "u", 9, job_uid="j"))
    cache.put(PODS, manifest(PODS, "p", "u", 7, job_uid="j"))
    assert cache.children(PODS, "j") == ()

    cache.put(PODS, manifest(PODS, "q", "v", 10, job_uid="j"))
    cache.adopt(PODS, listing(20))
    cache.put(PODS, manifest(PODS, "q", "v", 15, job_uid="j"))
    assert cache.children(PODS, "j") == ()


def test_an_object_whose_label_was_taken_off_comes_back_with_it() -> None:
    cache = Cache()
    cache.put(PODS, manifest(PODS, "p", "u", 5, job_uid="j"))
    cache.remove(PODS, manifest(PODS, "p", "u", 9, job_uid="j"))  # as a watch by label says it
    cache.put(PODS, manifest(PODS, "p", "u", 11, job_uid="j"))

    assert [version_of(pod) for pod in cache.children(PODS, "j")] == [11]


def test_a_list_does_not_drop_what_is_newer_than_it() -> None:
    cache = Cache()
    cache.put(PODS, manifest(PODS, "p", "u", 8, job_uid="j"))

    cache.adopt(PODS, listing(7))
    assert cache.count(PODS) == 1
    cache.adopt(PODS, listing(8))
    assert cache.count(PODS) == 0


def test_a_list_of_one_namespace_or_one_job_leaves_the_others_alone() -> None:
    cache = Cache()
    cache.put(PODS, manifest(PODS, "p", "u", 1, job_uid="j"))
    cache.put(PODS, manifest(PODS, "q", "v", 2, job_uid="k"))

    cache.adopt(PODS, listing(9), namespace="elsewhere")
    assert cache.count(PODS) == 2
    cache.adopt(PODS, listing(9), job_uid="k")
    assert [pod["metadata"]["name"] for pod in cache.children(PODS, "j")] == ["p"]
    assert cache.children(PODS, "k") == ()


def test_the_end_of_a_job_does_not_end_its_successor_of_the_same_name() -> None:
    cache = Cache()
    first, second = (manifest(ASYNCDIFFJOBS, "posters", uid, v) for uid, v in (("one", 1), ("two", 5)))
    cache.put(ASYNCDIFFJOBS, first)
    assert cache.put(ASYNCDIFFJOBS, second) == {KEY}

    assert cache.remove(ASYNCDIFFJOBS, first) == set()
    assert cache.job(KEY) == second
    cache.put(ASYNCDIFFJOBS, manifest(ASYNCDIFFJOBS, "posters", "one", 4))
    assert cache.job(KEY) == second


def test_a_change_names_the_job_that_it_concerns_once() -> None:
    cache = Cache()
    cache.put(ASYNCDIFFJOBS, manifest(ASYNCDIFFJOBS, "posters", "j", 1))
    child = manifest(JOBS, "posters-j", "c", 2, job_uid="j")

    assert cache.put(JOBS, child) == {KEY}
    assert cache.put(JOBS, child) == set()
    assert cache.remove(JOBS, child) == {KEY}
    assert cache.remove(JOBS, child) == set()


def test_a_pod_is_held_without_its_template_and_without_managed_fields() -> None:
    cache = Cache()
    pod = manifest(PODS, "p", "u", 1, job_uid="j", spec={"nodeName": "gpu-1", "containers": [{"image": "x"}]})
    pod["metadata"]["managedFields"] = [{"manager": "kubelet"}]
    cache.put(PODS, pod)

    (held,) = cache.children(PODS, "j")
    assert held["spec"] == {"nodeName": "gpu-1"}
    assert "managedFields" not in held["metadata"]


def test_names_and_short_texts_are_held_once_however_many_objects_have_them() -> None:
    cache = Cache()
    for number in range(2):
        text = json.dumps(
            manifest(PODS, f"p{number}", f"u{number}", 1, job_uid="j", status={"phase": "Failed"})
        )
        cache.put(PODS, json.loads(text))

    first, second = (held["status"] for held in cache.children(PODS, "j"))
    assert first["phase"] is second["phase"]
    assert next(iter(first)) is next(iter(second))


def test_what_the_kubelet_says_of_a_container_beside_how_it_is_concerns_no_job() -> None:
    cache = Cache()
    cache.put(ASYNCDIFFJOBS, manifest(ASYNCDIFFJOBS, KEY.name, "j", 1))

    def pod(version: int, **says: Any) -> dict[str, Any]:
        status = {"containerStatuses": [{"name": "runtime", "state": {"running": {}}, **says}]}
        return manifest(PODS, "p", "u", version, job_uid="j", status=status)

    assert cache.put(PODS, pod(2, ready=False, started=False)) == {KEY}
    assert cache.put(PODS, pod(3, ready=True, started=False)) == set()
    assert cache.put(PODS, pod(4, ready=True, started=True)) == {KEY}


def test_what_says_nothing_new_concerns_no_job_and_counts_as_seen() -> None:
    cache = Cache()
    cache.put(ASYNCDIFFJOBS, manifest(ASYNCDIFFJOBS, KEY.name, "j", 1))

    def job_of(version: int, **status: Any) -> dict[str, Any]:
        return manifest(JOBS, "shards", "s", version, job_uid="j", status=status)

    assert cache.put(JOBS, job_of(2, active=1, ready=0)) == {KEY}
    assert cache.put(JOBS, job_of(3, active=1, ready=1)) == set()
    assert cache.put(JOBS, job_of(4, active=2, ready=1)) == {KEY}
    assert [version_of(held) for held in cache.children(JOBS, "j")] == [4]
    assert cache.put(JOBS, job_of(5, active=2, ready=2)) == set()
    assert [version_of(held) for held in cache.children(JOBS, "j")] == [5]


def test_a_successor_of_the_same_name_concerns_its_job_however_alike_it_is() -> None:
    cache = Cache()
    cache.put(ASYNCDIFFJOBS, manifest(ASYNCDIFFJOBS, KEY.name, "j", 1))
    cache.put(JOBS, manifest(JOBS, "shards", "s", 2, job_uid="j"))

    assert cache.put(JOBS, manifest(JOBS, "shards", "t", 3, job_uid="j")) == {KEY}


def test_what_has_a_jobs_marks_in_another_namespace_is_no_child_of_it_and_no_news() -> None:
    cache = Cache()
    cache.put(ASYNCDIFFJOBS, manifest(ASYNCDIFFJOBS, KEY.name, "j", 1))
    own = manifest(JOBS, "shards", "s", 2, job_uid="j")
    forged = manifest(JOBS, "shards", "f", 3, job_uid="j", status={"succeeded": 1})
    forged["metadata"]["namespace"] = "elsewhere"

    assert cache.put(JOBS, own) == {KEY}
    assert cache.put(JOBS, forged) == set()
    assert [child["metadata"]["uid"] for child in cache.children(JOBS, "j")] == ["s"]
    assert cache.remove(JOBS, forged) == set()
    assert [child["metadata"]["uid"] for child in cache.children(JOBS, "j")] == ["s"]
