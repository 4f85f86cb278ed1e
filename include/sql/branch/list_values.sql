-- The values in planned_values: name, value.
select name, value from planned_values
