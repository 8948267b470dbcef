// yubikeyotp.
const { verifyOTP } = require('yubikeyotp');
const [apiUrl, id, key] = process.argv.slice(2);
require('./lines')((otp, answer) =>
  verifyOTP({ apiUrl, id, key, otp, timestamp: true }, (error, reply) =>
    answer(!error && reply.status === 'OK', error || reply.status)));
