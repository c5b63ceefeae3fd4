import { docsPage } from "./server/docs-page.ts";
import type { Handler } from "./server/operation.ts";

/** Nothing may be loaded from anywhere, and nothing may run: the page is text. */
export const getDocs: Handler<"getDocs"> = () =>
  Promise.resolve({
    status: 200,
    raw: docsPage(),
    headers: {
      "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
      "Cache-Control": "max-age=300",
    },
  });
