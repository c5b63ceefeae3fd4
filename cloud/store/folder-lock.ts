import { open, unlink } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { connect, createServer } from "node:net";
import type { ListenOptions, Server } from "node:net";
import { join } from "node:path";

/**
 * Keeps two processes from opening one embedded database, which would destroy it without a word. The lock is a Unix
 * socket in the folder: a process that lives answers on it, also across containers that share the folder, and one that
 * died does not, so a crash leaves nothing that must be removed by hand. Undefined when another process holds it.
 */
export async function lockFolder(folder: string): Promise<AsyncDisposable | undefined> {
  const handle = await open(folder, "r");
  const held: Server[] = [];
  const release = async () => {
    for (const server of held.toReversed()) await close(server);
    await handle.close();
  };
  try {
    const { dev, ino } = await handle.stat();
    for (const take of [() => takeName(`muto-folder-${dev}-${ino}`), () => takeSocket(socketPath(folder, handle))]) {
      const server = await take();
      if (server === undefined) {
        await release();
        return undefined;
      }
      held.push(server);
    }
    return { [Symbol.asyncDispose]: release };
  } catch (error) {
    await release();
    throw error;
  }
}

/**
 * Linux frees an abstract name with the process that holds it. It makes the take-over of a dead socket the act of one
 * process at a time; elsewhere the socket alone must do.
 */
function takeName(name: string): Promise<Server | undefined> {
  return listen(process.platform === "linux" ? `\0${name}` : { port: 0, host: "127.0.0.1" });
}

/** The path of a socket may have some hundred characters only; through the open folder it is always short. */
function socketPath(folder: string, handle: FileHandle): string {
  return process.platform === "linux" ? `/proc/self/fd/${handle.fd}/lock.sock` : join(folder, "lock.sock");
}

async function takeSocket(path: string): Promise<Server | undefined> {
  const first = await listen(path);
  if (first !== undefined) return first;
  if (await answers(path)) return undefined;
  await unlink(path);
  return await listen(path);
}

function listen(path: string | ListenOptions): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once("error", (error) => {
      if ("code" in error && error.code === "EADDRINUSE") resolve(undefined);
      else reject(error);
    });
    server.listen(path, () => resolve(server));
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
