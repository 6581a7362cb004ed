# The lab's own processes, for the profile `app` of docker-compose.yml: one image, one process each.
FROM python:3.12-slim

# A number that no account of the machine has, and the folders that volumes of ours are put on.
RUN useradd --uid 10001 --no-create-home lab && install --directory --owner=lab /lab /telemetry

COPY pyproject.toml README.md LICENSE scenarios.toml docker-compose.yml /src/
COPY scripts /src/scripts
COPY elk /src/elk
COPY lab /src/lab
RUN pip install --no-cache-dir /src && rm -r /src

USER lab
WORKDIR /lab
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["lab"]
