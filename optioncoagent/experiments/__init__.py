"""The papers' experiments, and what else is measured with tables.

figure5, figure6, four_rooms       the papers': SETTINGS and FULL (data, each with its `seeds`), run(setting, seed, threads) -> rows,
                                   plot(rows) -> Figure, summary(rows) -> lines, and ASSUMPTIONS, how what the papers leave open was
                                   read, printed under every figure
problems                           the MDPs and networks that they share
runner, reproduce                  rows in files, made and drawn; `optioncoagent reproduce` runs an experiment by name
gradient_forms, learner_forms,     gradient forms along training and along each form's own ascent, exactly and as the learner has them
ascent
gradients_command,                 `optioncoagent gradients`
gradients_picture
"""
