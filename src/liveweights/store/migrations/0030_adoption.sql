-- Published counts of how often models were downloaded and derived from, as they were on a day: hubs
-- show today's only, so they are kept here.

create table adoption_snapshots (
    model        text not null,
    day          date not null,
    downloads    bigint not null check (downloads >= 0),
    derivatives  bigint check (derivatives >= 0),
    source       text not null,
    primary key (model, day, source)
);
