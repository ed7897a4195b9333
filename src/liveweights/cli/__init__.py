"""The command line: which commands there are, and where each is."""

from __future__ import annotations

import typer

from liveweights.cli.lazy import lazy_group
from liveweights.file_modes import close_files

HERE = "liveweights.cli"
COMMANDS = {
    "demo": f"{HERE}.replay:demo",
    "up": f"{HERE}.service:up",
    "serve": f"{HERE}.service:serve",
    "status": f"{HERE}.cycles:status",
    "cycle": f"{HERE}.cycles:cycle",
    "feedback": f"{HERE}.feedback:feedback",
    "checkpoints": f"{HERE}.releases:checkpoints",
    "lineage": f"{HERE}.releases:lineage",
    "rollback": f"{HERE}.releases:rollback",
    "canary": f"{HERE}.canary:canary",
    "scorecard": f"{HERE}.scorecard:scorecard",
    "gate": f"{HERE}.gate:gate",
    "suites": f"{HERE}.gate:suites",
    "scoreboard": f"{HERE}.scoreboard:scoreboard",
    "insight": f"{HERE}.insight:insight",
    "prices": f"{HERE}.prices:prices",
    "ledger": f"{HERE}.ledger:ledger",
    "invoice": f"{HERE}.invoice:invoice",
    "sql": f"{HERE}.sql:sql",
    "db": f"{HERE}.databases:db",
    "documents": f"{HERE}.documents:documents",
    "model": f"{HERE}.model:model",
    "models": f"{HERE}.models:models",
    "catalogue": f"{HERE}.catalogue:catalogue",
    "terms": f"{HERE}.terms:terms",
    "bom": f"{HERE}.bom:bom",
    "verify-bom": f"{HERE}.bom:verify_bom",
    "exposure": f"{HERE}.exposure:exposure",
    "adoption": f"{HERE}.adoption:adoption",
    "tenants": f"{HERE}.tenants:tenants",
    "keys": f"{HERE}.keys:keys",
    "users": f"{HERE}.users:users",
    "lsp": f"{HERE}.editor:lsp",
    "replay": f"{HERE}.replay:replay",
    "upcycle": f"{HERE}.upcycle:upcycle",
    "ternary": f"{HERE}.ternary:ternary",
    "prune": f"{HERE}.upkeep:prune",
    "verify": f"{HERE}.upkeep:verify",
    "sign": f"{HERE}.upkeep:sign",
    "make-key": f"{HERE}.upkeep:make_key",
    "import": f"{HERE}.imports:import_logs",
    "export": f"{HERE}.export:export",
    "import-checkpoint": f"{HERE}.sharing:import_checkpoint",
    "merge": f"{HERE}.merge:merge",
    "switch": f"{HERE}.switch:switch",
    "archive": f"{HERE}.archive:archive",
    "restore": f"{HERE}.archive:restore",
    "forget": f"{HERE}.archive:forget",
    "doctor": f"{HERE}.doctor:doctor",
    "quarantine": f"{HERE}.quarantine:quarantine",
    "rollups": f"{HERE}.doctor:rebuild_rollups",
    "config": f"{HERE}.about:show_config",
    "manual": f"{HERE}.manual:manual",
    "version": f"{HERE}.about:version",
}

app = typer.Typer(
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _all() -> None:
    """Serve an open-weight model, learn from its users, ship better weights with proof."""


def main() -> None:
    """Entry point of ``liveweights``."""
    close_files()
    app()
