-- A process whose answer got lost says the same again, and it has to be known whether it was heard.
alter table allowance_leases add column report bigint not null default 0,
    add column warned boolean not null default false;
comment on column allowance_leases.warned is
'Whether the answer to that report was the one that warned.';
comment on column allowance_leases.report is
'The number, of its own choice, of what the process said last of use and what it gave back: the same number again changes nothing. 0: it said nothing. Kept for a day after until, with an amount of 0.';
