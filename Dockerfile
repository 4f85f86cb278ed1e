# One image for all of Airflow's parts: the locked packages, then this repository.
FROM python:3.11-slim-bookworm

# git: GitDagBundle clones with it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --uid 50000 --create-home retention \
    && install -d -o retention -g retention -m 0700 \
        /var/lib/retention /var/lib/retention/airflow /var/lib/retention/logs

WORKDIR /opt/retention

COPY .ci/uv.lock .ci/uv.lock
COPY requirements.lock ./
RUN python -m pip install --no-cache-dir --require-hashes -r .ci/uv.lock \
    && uv pip install --system --no-cache --require-hashes -r requirements.lock

COPY pyproject.toml README.md ./
COPY plugins plugins
COPY dags dags
COPY include include
RUN uv pip install --system --offline --no-cache --no-deps --editable .

USER retention
ENV AIRFLOW_HOME=/var/lib/retention/airflow \
    RETENTION_HOME=/var/lib/retention \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/retention/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/retention/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=/var/lib/retention/logs \
    PYTHONUNBUFFERED=1

CMD ["airflow", "api-server"]
