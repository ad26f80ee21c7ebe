# A server of runs, on the CPU, not as root.
#   docker build -t napo .
#   docker run -p 127.0.0.1:8000:8000 -e NAPO_TOKEN -v ./runs/napo:/run-folder:ro napo
# torch's default wheels bring CUDA, gigabytes that a CPU has no use for; --build-arg TORCH_INDEX= takes them all the same
FROM python:3.11-slim AS build
ARG TORCH_INDEX="https://download.pytorch.org/whl/cpu"
WORKDIR /src
RUN python -m venv /opt/napo
COPY constraints.txt ./
RUN /opt/napo/bin/pip install --no-cache-dir -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN /opt/napo/bin/pip install --no-cache-dir -c constraints.txt '.[serve,events]'

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 napo && mkdir /events && chown napo /events
COPY --from=build /opt/napo /opt/napo
USER napo
ENV PATH=/opt/napo/bin:$PATH PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
EXPOSE 8000
HEALTHCHECK --interval=10s --start-period=60s CMD python -c "import urllib.request as u; u.urlopen(u.Request('http://127.0.0.1:8000/readyz'))"
# other machines reach a container: without NAPO_TOKEN the server does not start
ENTRYPOINT ["napo", "serve", "--host", "0.0.0.0"]
CMD ["/run-folder"]
