"""BabyAI for the compiled batch: levels told in words, with one rule for all of them.

    instructions   an instruction as BabyAI's objects, as columns of a row, and in English
    verifier       the same compiled: what the columns mean, and the rule that says whether what they ask for is done
    levels         what a level is made of; a *mission* draws one level and says what to do there
    missions       the missions, each named after the class whose `gen_mission` it draws
    sentences      LevelGen, the mission that makes sentences of up to four clauses
    families       which of BabyAI's classes are covered, a line each

To add a level that BabyAI has: a mission in `missions` and a line in `families`. It builds on `minigrid`, which knows nothing of it.
"""
