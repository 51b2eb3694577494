/** The page's style sheet. Two themes by one set of names; the reader's system chooses, the button overrides. */
const light = "--paper:#f6f7f9;--card:#ffffff;--ink:#17202b;--soft:#5c6b7c;--hair:#e3e8ee;--grid:#eef1f5;--good:#0f7b4f;--good-bg:#e2f5ec;--bad:#b3261e;--bad-bg:#fce8e6;--c1:#0b6bcb;--c2:#0d8a7d;--c3:#c2570c;--c4:#7a4fd0;--shadow:0 1px 2px rgba(20,30,50,.05),0 6px 24px rgba(20,30,50,.05)";
const dark = "--paper:#0e1319;--card:#161d26;--ink:#e8eef5;--soft:#93a3b5;--hair:#27313d;--grid:#212b36;--good:#5fd8a4;--good-bg:#12332a;--bad:#ff8f86;--bad-bg:#421d1b;--c1:#63b0ff;--c2:#45cdbb;--c3:#ffa25c;--c4:#b79bff;--shadow:none";

export const pageStyle = `
:root{${light};color-scheme:light}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){${dark};color-scheme:dark}}
:root[data-theme=dark]{${dark};color-scheme:dark}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;-webkit-font-smoothing:antialiased}
main{max-width:1240px;margin:0 auto;padding:36px 24px 48px}
header{display:flex;flex-wrap:wrap;gap:12px 20px;align-items:center;margin-bottom:26px}
h1{font-size:25px;line-height:1.2;margin:0;letter-spacing:-.015em;font-weight:650}
.kicker{color:var(--soft);font-size:13px;letter-spacing:.01em;margin:0 0 2px}
.grow{flex:1 1 320px;min-width:0;overflow-wrap:anywhere}
.badge{padding:7px 14px;border-radius:999px;font-weight:600;font-size:14px;white-space:nowrap}
.good{color:var(--good);background:var(--good-bg)}.bad{color:var(--bad);background:var(--bad-bg)}
button{font:inherit;font-size:13px;color:var(--soft);background:none;border:1px solid var(--hair);border-radius:999px;padding:6px 13px;cursor:pointer}
button:hover{color:var(--ink);border-color:var(--soft)}
.problems{background:var(--bad-bg);color:var(--bad);border-radius:12px;padding:12px 18px 12px 36px;margin:0 0 22px}
.tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:12px;margin-bottom:22px}
.tile,figure,.details{background:var(--card);border:1px solid var(--hair);border-radius:14px;box-shadow:var(--shadow)}
.tile{padding:14px 18px 15px}
.tile dt{color:var(--soft);font-size:13px;margin:0}
.tile dd{margin:0}
.tile .value{font-size:25px;font-weight:640;letter-spacing:-.02em;font-variant-numeric:tabular-nums;line-height:1.3}
.tile .more{color:var(--soft);font-size:13px;font-variant-numeric:tabular-nums}
dl{margin:0}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:16px;margin-bottom:16px}
figure{margin:0;padding:18px 18px 10px}
figcaption{display:flex;flex-wrap:wrap;gap:2px 18px;align-items:baseline;margin-bottom:2px}
h2{font-size:16px;margin:0;font-weight:640;letter-spacing:-.01em}
.note{color:var(--soft);font-size:13px;margin:0 0 8px;min-height:2.9em}
.legend{margin-left:auto;display:flex;flex-wrap:wrap;gap:0 16px;font-size:13px;color:var(--soft)}
.legend i{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px}
.legend b{color:var(--ink);font-weight:600;font-variant-numeric:tabular-nums;margin-left:4px}
.at{font-size:13px;color:var(--soft);font-variant-numeric:tabular-nums}
svg{display:block;width:100%;height:auto;touch-action:pan-y;overflow:visible}
.grid{stroke:var(--grid)}
.tick{fill:var(--soft);font-size:12px;font-variant-numeric:tabular-nums}
.line{fill:none;stroke-width:1.9;stroke-linejoin:round;stroke-linecap:round}
.faint{opacity:.5;stroke-width:1.2}
.area{opacity:.16}
.limit{stroke:var(--soft);stroke-dasharray:4 4;stroke-width:1}
.limit-label{fill:var(--soft);font-size:12px;paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
.pointer line{stroke:var(--soft);stroke-width:1}
.pointer circle{stroke:var(--card);stroke-width:1.5}
${["c1", "c2", "c3", "c4"].map((name) => `.line.${name}{stroke:var(--${name})}.area.${name},circle.${name}{fill:var(--${name})}i.${name}{background:var(--${name})}`).join("\n")}
.details{padding:18px 22px 20px}
.details table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
.details th{font-weight:500;color:var(--soft);text-align:left;padding:7px 18px 7px 0;white-space:nowrap;vertical-align:top;width:1%}
.details td{padding:7px 0;overflow-wrap:anywhere}
.details tr+tr>*{border-top:1px solid var(--hair)}
code{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace}
footer{color:var(--soft);font-size:13px;margin-top:20px}
@media (max-width:900px){.tiles{grid-template-columns:repeat(2,1fr)}}
@media (max-width:560px){main{padding:24px 14px}.tile{padding:11px 14px 12px}.tile .value{font-size:20px}.legend{margin-left:0}}
@media print{body{background:#fff}button{display:none}figure,.tile,.details{box-shadow:none;break-inside:avoid}}
`;
