-- Rows about a customer that another row of the same load and the same time contradicts: they are kept among what was left out.
-- Returns how many.
with written as (
    insert into rejected_rows (import_id, line, level, "column", reason, remedy, raw)
    select :import_id, s.row_line, 'cell', null, :reason, :remedy, s.customer_id
    from staged_customers s
    join incoming_customers i using (customer_id)
    where not i.is_gone and not i.is_older and coalesce(s.occurred_at = i.occurred_at, true) and (
          'name' = any(cast(:mapped as text[])) and s.name is distinct from i.name
       or 'email' = any(cast(:mapped as text[])) and s.email is distinct from i.email
       or 'phone' = any(cast(:mapped as text[])) and s.phone is distinct from i.phone
       or 'birthday' = any(cast(:mapped as text[]))
          and (s.birth_year, s.birth_month, s.birth_day) is distinct from (i.birth_year, i.birth_month, i.birth_day)
       or 'locale' = any(cast(:mapped as text[])) and s.locale is distinct from i.locale
       or not i.attributes @> jsonb_strip_nulls(coalesce(s.attributes, '{}')))
    returning 1
)
select count(*) from written
