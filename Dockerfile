FROM node:22-slim AS playground
WORKDIR /fetched
COPY api/playground/package.json api/playground/package-lock.json ./
RUN npm ci --ignore-scripts --legacy-peer-deps --no-audit --no-fund

FROM python:3.11-slim-bookworm
WORKDIR /tidings
COPY requirements.lock ./
# All but the private MongoDB, which has a container of its own.
RUN awk '/^[a-z]/ { wanted = !/^fiftyone/ } wanted' requirements.lock > wanted.lock \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement wanted.lock
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY domain domain
COPY infra infra
COPY readmodels readmodels
RUN pip install --no-cache-dir --no-deps .

ENV TIDINGS_HOME=/data
RUN useradd --create-home tidings && install --directory --owner=tidings /data
USER tidings
RUN --mount=type=bind,from=playground,source=/fetched/node_modules,target=/node_modules \
    python -m api.playground /node_modules /data
VOLUME /data
ENTRYPOINT ["tidings"]
CMD ["serve"]
