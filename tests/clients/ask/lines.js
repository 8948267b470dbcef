// Asks about each line that comes in, one after another, and says yes, or no and why.
module.exports = (ask) => {
  const waiting = [];
  let busy = false;
  const next = () => {
    if (busy || waiting.length === 0) return;
    busy = true;
    ask(waiting.shift(), (yes, why) => {
      busy = false;
      console.log(yes ? 'yes' : `no ${why}`.replace(/\s+/g, ' '));
      next();
    });
  };
  require('readline').createInterface({ input: process.stdin }).on('line', (otp) => {
    waiting.push(otp);
    next();
  });
};
