from bench.stage import *
from bench.registry import BENCHMARKS
from bench import benchmarks
import sys, time
with Stage(QUICK if '-q' in sys.argv else FULL) as s:
    for b in BENCHMARKS.values():
        t=time.time()
        try:
            for r in b.measure(s): print(r.key, round(r.value,3), round(r.low,3), round(r.high,3), {k: round(v,2) for k,v in r.sides.items()}, r.unit)
        except LeftOutError as e: print(b.name, "left out", e)
        print("   ", round(time.time()-t,2))
