# The lab's own processes, for the profile `app` of docker-compose.yml: one image, one process each.
#
# This interpreter is built with profile-guided and link-time optimisation, which a run owes a tenth of
# its speed or more to: docs/docker.md says which others are.
FROM python:3.12-slim

# A number that no account of the machine has, and the folders that volumes of ours are put on.
RUN useradd --uid 10001 --no-create-home lab && install --directory --owner=lab /lab /telemetry

# What the lab needs, in a layer that a change of its code leaves alone: it is fetched once.
COPY pyproject.toml /src/
RUN python -c 'import tomllib; of = tomllib.load(open("/src/pyproject.toml", "rb")); print(*of["build-system"]["requires"], *of["project"]["dependencies"], sep="\n")' >/src/needed \
    && pip install --no-cache-dir --requirement /src/needed

COPY README.md LICENSE scenarios.toml docker-compose.yml /src/
COPY scripts /src/scripts
COPY elk /src/elk
COPY lab /src/lab
RUN pip install --no-cache-dir --no-index --no-deps --no-build-isolation /src && rm -r /src

USER lab
WORKDIR /lab
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["lab"]
