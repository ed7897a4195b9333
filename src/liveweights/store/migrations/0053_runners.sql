-- What another program asked is another run, and does not go on with the first.
alter table score_runs drop constraint score_runs_source_suite_version_content_harness_samples_cas_key;
update score_runs set runner = 'import' where source <> 'own';
alter table score_runs add constraint score_runs_conditions_key unique nulls not distinct (
    source, suite, version, content, harness, samples, cases, seconds, temperature, max_tokens,
    seed, repeat, runner, model, checkpoint
);
comment on column score_runs.runner is
'The program that asked, with its version; import: it was asked elsewhere.';
