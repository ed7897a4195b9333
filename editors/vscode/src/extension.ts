// Starts the language server and hands it the settings. What becomes of a suggestion the server
// reads from the changes of the document and from the command that comes with it; Escape, which
// changes nothing there, is told it.

import { commands, ExtensionContext, workspace } from "vscode";
import { LanguageClient } from "vscode-languageclient/node";

import { readOwn } from "./settings";

const SECTION = "liveweights";

let client: LanguageClient | undefined;

export async function activate(context: ExtensionContext): Promise<void> {
  const declared = context.extension.packageJSON.contributes.configuration.properties;
  const names = Object.keys(declared).map((name) => name.slice(SECTION.length + 1));
  const read = () => {
    const section = workspace.getConfiguration(SECTION);
    return readOwn(names, (name) => section.inspect(name));
  };
  /** The settings as the server takes them. */
  const settings = () => {
    const { command: _, ...taken } = read();
    return taken;
  };
  const command = String(read().command);
  const started = new LanguageClient(
    SECTION,
    { command, args: ["lsp"] },
    { documentSelector: [{ scheme: "file" }], initializationOptions: settings },
  );
  client = started;
  context.subscriptions.push(
    workspace.onDidChangeConfiguration(async (change) => {
      if (change.affectsConfiguration(SECTION)) {
        await started.sendNotification("workspace/didChangeConfiguration", {
          settings: { [SECTION]: settings() },
        });
      }
    }),
    commands.registerCommand("liveweights.dismiss", async () => {
      await commands.executeCommand("editor.action.inlineSuggest.hide");
      if (started.isRunning()) {
        await commands.executeCommand("liveweights.dismissed");
      }
    }),
    commands.registerCommand("liveweights.toggle", async () => {
      const section = workspace.getConfiguration(SECTION);
      await section.update("enabled", !read().enabled, true);
    }),
  );
  await started.start();
}

export async function deactivate(): Promise<void> {
  await client?.stop();
}
