# Two images: `--target operator` watches jobs, `--target runtime` works them off. Both run as any user, on a
# read-only root, from the hashed lock files; docs/cluster.md says how to build them with docker and with buildah.
#
#   docker build --target runtime --tag registry.example/asyncdiff-runtime .
#
# BASE needs apt; Python 3.11 or newer is used if it has one, else Debian's is installed. It is the base of every
# stage, so that the environment's Python is where it was when it was made. For CUDA no other base is needed:
# torch's wheels bring its libraries, and the node brings the driver.
ARG BASE=docker.io/library/python:3.13-slim-bookworm

# ── Python and nothing else: what the images have in common ─────────────────────────────────────────────────────
FROM ${BASE} AS python
RUN command -v python3 >/dev/null || { \
        apt-get update && apt-get install --yes --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*; }
ENV LANG=C.UTF-8 PATH=/opt/asyncdiff/bin:$PATH PYTHONUNBUFFERED=1

# ── The tools that build, none of which is shipped ──────────────────────────────────────────────────────────────
FROM python AS tools
# Where packages come from, in pip's own words; for a mirror, or a registry behind a proxy.
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_CERT PIP_TRUSTED_HOST
RUN python3 -m pip --version >/dev/null 2>&1 || { \
        apt-get update && apt-get install --yes --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*; }
WORKDIR /src
COPY scripts/uv scripts/uv
COPY locks/uv.txt locks/build.txt locks/
RUN scripts/uv venv --quiet --python "$(command -v python3)" /opt/tools \
    && scripts/uv pip sync --quiet --require-hashes --python /opt/tools/bin/python locks/build.txt
# Links to the base's Python, not copies: an environment works wherever its base is.
RUN scripts/uv venv --quiet --python "$(command -v python3)" /opt/asyncdiff

FROM tools AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY operator operator
COPY runtime runtime
ARG SOURCE_DATE_EPOCH=0
RUN SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} /opt/tools/bin/python -m hatchling build --target wheel --directory /wheels

# ── Environments: other people's packages, which a change of our own code costs no download ─────────────────────
FROM tools AS operator-environment
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_CERT PIP_TRUSTED_HOST
COPY locks/operator.txt locks/
# Nobody uses the second copy of Kubernetes' client, the one for asyncio, which would be a third of the image.
RUN scripts/uv pip sync --quiet --no-cache --require-hashes --compile-bytecode \
        --python /opt/asyncdiff/bin/python locks/operator.txt \
    && rm -rf /opt/asyncdiff/lib/python3*/site-packages/kubernetes/aio

FROM tools AS runtime-environment
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_CERT PIP_TRUSTED_HOST
COPY locks/runtime.txt locks/
RUN scripts/uv pip sync --quiet --no-cache --require-hashes --compile-bytecode \
        --python /opt/asyncdiff/bin/python locks/runtime.txt

# ── Our own code, compiled and with the commands that start it, apart from all other packages ───────────────────
# The wheel carries every package; neither image has a use for the other's.
FROM wheel AS operator-code
RUN scripts/uv pip install --quiet --offline --no-cache --no-deps --compile-bytecode \
        --python /opt/asyncdiff/bin/python --prefix /code /wheels/*.whl \
    && rm -rf /code/lib/python3*/site-packages/asyncdiff_runtime /code/bin

FROM wheel AS runtime-code
RUN scripts/uv pip install --quiet --offline --no-cache --no-deps --compile-bytecode \
        --python /opt/asyncdiff/bin/python --prefix /code /wheels/*.whl \
    && rm -rf /code/lib/python3*/site-packages/asyncdiff_operator

# ── What is shipped ─────────────────────────────────────────────────────────────────────────────────────────────
FROM python AS operator
COPY --from=operator-environment /opt/asyncdiff /opt/asyncdiff
# A layer of its own: a node that has an earlier image fetches megabytes for a new one.
COPY --from=operator-code /code /opt/asyncdiff
# Everything is compiled, and the root is read-only: nothing is to be written beside it.
ENV PYTHONDONTWRITEBYTECODE=1
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="asyncdiff-operator" \
      org.opencontainers.image.description="Runs AsyncDiffJobs: batch image and video generation on GPU nodes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
ENTRYPOINT ["python", "-m", "asyncdiff_operator"]

FROM python AS runtime
# Inductor and triton compile what they generate, against Python's headers, which Debian packs on their own.
RUN headers=$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))') \
    && apt-get update \
    && apt-get install --yes --no-install-recommends g++ $(test -e "$headers/Python.h" || echo libpython3-dev) \
    && rm -rf /var/lib/apt/lists/*
COPY --from=runtime-environment /opt/asyncdiff /opt/asyncdiff
COPY --from=runtime-code /code /opt/asyncdiff
# Any user may run it, one without an entry in /etc/passwd too: what asks for a home or a user's name is told.
ENV PYTHONDONTWRITEBYTECODE=1 HOME=/tmp USER=asyncdiff LOGNAME=asyncdiff TMPDIR=/tmp \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="asyncdiff-runtime" \
      org.opencontainers.image.description="Works off the shards of an AsyncDiffJob with several GPUs at once" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
ENTRYPOINT ["asyncdiff"]
CMD ["--help"]
