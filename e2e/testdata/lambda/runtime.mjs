// What Lambda's runtime for Node.js does with a handler, in short.
import { handler } from './index.mjs';

const api = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/`;

for (;;) {
  const next = await fetch(`${api}next`);
  const request = next.headers.get('Lambda-Runtime-Aws-Request-Id');
  const event = await next.json();
  let path = 'response';
  let value;
  try {
    value = await handler(event);
  } catch (e) {
    console.error(e);
    path = 'error';
    value = { errorType: e.name, errorMessage: String(e.message) };
  }
  await fetch(`${api}${request}/${path}`, { method: 'POST', body: JSON.stringify(value) });
}
