// Starts the language server and hands it the settings. What becomes of a suggestion the server
// reads from the changes of the document and from the command that comes with it; Escape, which
// changes nothing there, is told it.

import { commands, ExtensionContext, workspace } from "vscode";
import { LanguageClient } from "vscode-languageclient/node";

const SECTION = "liveweights";
const OWN = ["command"];

let client: LanguageClient | undefined;

/** The settings as the server takes them. */
function settings(): Record<string, unknown> {
  const all = workspace.getConfiguration().get<Record<string, unknown>>(SECTION) ?? {};
  return Object.fromEntries(Object.entries(all).filter(([name]) => !OWN.includes(name)));
}

export async function activate(context: ExtensionContext): Promise<void> {
  const command = workspace.getConfiguration(SECTION).get<string>("command", "liveweights");
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
      await section.update("enabled", !section.get<boolean>("enabled", true), true);
    }),
  );
  await started.start();
}

export async function deactivate(): Promise<void> {
  await client?.stop();
}
