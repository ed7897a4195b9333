-- The audit has every change that people make, whichever way it came, and keeps its rows.
comment on table audit is
'What people changed, through the console, /admin and commands: who, what, and with which words, one row each, written in the transaction of the change. Nothing changes or removes a row.';
comment on column audit.actor is 'A user of the console, the operator key, or a command.';
comment on column audit.action is 'What was done: one name for it, whichever way it came.';
comment on column audit.target is 'What it was done to.';
comment on column audit.details is 'What was asked for, without secrets; of commands also who ran them, as the operating system has it.';

drop trigger keep_audit on audit;
create trigger keep_audit before update or delete or truncate on audit
    for each statement execute function keep_audit();
