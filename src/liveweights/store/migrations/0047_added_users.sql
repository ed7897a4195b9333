-- Who was made without anybody's asking is nobody whom a provider may sign in.
alter table console_users add column added boolean not null default true;
comment on column console_users.added is
'Whether somebody added the user. false: the admin whom the first start invites; no provider signs in as it.';

-- The start made only ever one, under this name; whom people add the audit knows.
update console_users set added = false
where name = 'admin'
  and not exists (select from audit where action = 'add user' and target = 'admin');
