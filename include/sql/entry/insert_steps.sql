-- Write down when the steps of a new cohort are due and until when they may go out: :steps is a JSON list of them.
insert into cohort_steps (cohort_id, step, purpose, due_at, not_after)
select :cohort_id, s.step, s.purpose, s.due_at, s.not_after
from jsonb_to_recordset(cast(:steps as jsonb)) as s (step text, purpose text, due_at timestamptz, not_after timestamptz)
on conflict do nothing
