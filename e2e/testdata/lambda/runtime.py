"""What Lambda's runtime for Python does with a handler, in short."""

import json
import os
import traceback
import urllib.request

import app  # what Lambda calls the function's own initialisation

API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"


def post(path, value):
    body = json.dumps(value).encode()
    urllib.request.urlopen(urllib.request.Request(API + path, body, method="POST")).close()


while True:
    with urllib.request.urlopen(API + "next") as answer:
        request = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        event = json.load(answer)
    try:
        post(request + "/response", app.handler(event, None))
    except Exception as e:
        traceback.print_exc()
        post(request + "/error", {"errorType": type(e).__name__, "errorMessage": str(e)})
