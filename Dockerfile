# An environment with the locked versions: docker build -t deps . && docker run --rm -it -p 127.0.0.1:5000:5000 deps
# hadolint 2.15 finds nothing; it was never built by this project.
FROM python:3.11-slim

# git is what DVC works in; g++ compiles `train.operators: native` where a preset asks for it.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install -y --no-install-recommends g++ git make && \
    rm -rf /var/lib/apt/lists/*

ENV PYTHONUTF8=1 LC_ALL=C.UTF-8
WORKDIR /deps

# requirements-cpu.lock needs PIP_EXTRA_INDEX_URL as a build argument: docs/install.md
ARG LOCK=requirements.lock
ARG PIP_EXTRA_INDEX_URL
COPY requirements.lock requirements-cpu.lock ./
RUN python -m pip install --no-cache-dir --requirement "$LOCK"

COPY . .
# .venv/ready tells make that the environment is there: this image's own.
RUN python -m pip install --no-cache-dir --no-deps --no-build-isolation --editable . && \
    mkdir .venv && touch .venv/ready

CMD ["bash"]
