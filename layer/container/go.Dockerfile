# A Go function as a container image of nothing but itself and the extension. Nobody
# starts a wrapper in such an image, so it is the entry point; the variable tells the
# extension that it is asked for values. Run in the directory of latchkey's source:
#
#   make layer
#   docker build -f layer/container/go.Dockerfile --platform linux/arm64 --build-arg TARGETARCH=arm64 -t function .
FROM golang:1.26 AS build
ARG TARGETARCH
WORKDIR /src
COPY samples/lambda/go/ .
RUN CGO_ENABLED=0 GOARCH=${TARGETARCH} go build -trimpath -tags lambda.norpc -ldflags '-s -w' -o /function .

FROM gcr.io/distroless/static-debian12
ARG TARGETARCH
COPY --chmod=0755 dist/latchkey-extension-${TARGETARCH}/ /opt/
COPY --from=build /function /function
ENV AWS_LAMBDA_EXEC_WRAPPER=/opt/latchkey-exec
ENTRYPOINT ["/opt/latchkey-exec", "/function"]
