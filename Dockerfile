# docker build --tag screener .
# docker run --rm --network none --read-only --tmpfs /tmp \
#   --volume /data/studies:/studies:ro --volume /data/report:/report \
#   screener scan /studies --out /report
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY screener screener
COPY export export
RUN python -m venv /opt/screener \
 && /opt/screener/bin/pip install --no-cache-dir --disable-pip-version-check . \
 && /opt/screener/bin/screener doctor

FROM python:3.13-slim
# An account of its own. The folder of the report must be writable for it: install -d -o 10001 -m 700.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin screener
COPY --from=build /opt/screener /opt/screener
USER 10001
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
VOLUME ["/studies", "/report"]
# It is a job that ends: its exit code says how it went, so there is no HEALTHCHECK.
ENTRYPOINT ["/opt/screener/bin/screener"]
CMD ["--help"]
