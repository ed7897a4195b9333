-- The tasks that were active last are found by their last answers.
create index generations_of_episodes on generations (created_at desc, id desc)
    where metadata ->> 'episode' is not null;
