# syntax=docker/dockerfile:1
# Container image of one command of EMS: ARG COMMAND is manager (default) or ems-agent, see "make docker-build".
# The agent's image is for the simulator and for tests: on a real server the agent is a Windows service, not a container.
#
# Base images are pinned by tag. Pin them by digest (@sha256:...) in a release pipeline that can look digests up and
# update them; a digest that nobody updates would only keep old vulnerabilities.

FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
ARG TARGETOS
ARG TARGETARCH
ARG COMMAND=manager
ARG VERSION=v0.0.0-dev
WORKDIR /src
# Modules first: they change less often than the sources, so this layer is usually cached.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY api/ api/
COPY agent/ agent/
COPY cmd/ cmd/
COPY controllers/ controllers/
COPY internal/ internal/
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X mitigation.dev/ems/internal/version.Version=$VERSION" -o /out/ems ./cmd/$COMMAND

# No shell, no package manager; certificate authorities and time zones, which the feed needs.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/ems /ems
# The number and not the name "nonroot": Kubernetes checks runAsNonRoot by number.
USER 65532:65532
ENTRYPOINT ["/ems"]
