-- Answers that passed through the gateway: what was asked, as text, and the upstream's counts.
alter table generations
    add column prompt text not null default '',
    add column usage jsonb not null default '{}';
