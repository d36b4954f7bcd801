-- Version 4: a plan has passes. What was planned before is one.

UPDATE jobs SET plan = json_remove(
    json_set(plan, '$.passes', json_array(json_object(
        'width', json_extract(plan, '$.width'),
        'height', json_extract(plan, '$.height'),
        'steps', json_extract(plan, '$.request.steps'),
        'sampler', json_extract(plan, '$.sampler'),
        'scheduler', json_extract(plan, '$.scheduler'),
        'sampler_options', json(json_extract(plan, '$.sampler_options')),
        'scheduler_options', json(json_extract(plan, '$.scheduler_options'))
    ))),
    '$.width', '$.height', '$.sampler', '$.scheduler', '$.sampler_options', '$.scheduler_options'
) WHERE plan IS NOT NULL;
